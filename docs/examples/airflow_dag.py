"""An Airflow DAG: upgrade by night, then the daily audit.

Exit code 4 says that another run is at it, or that somebody must decide first: the task is skipped, and hooks tell.
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

UPGRADE = "/opt/embedshift/bin/embedshift upgrade --config /etc/embedshift/articles.yaml --json"
AUDIT = "/opt/embedshift/bin/embedshift audit --config /etc/embedshift/articles.yaml --sample 1% --json"

with DAG(
    dag_id="embedshift_upgrade",
    schedule="0 22 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
):
    upgrade = BashOperator(
        task_id="upgrade",
        bash_command=UPGRADE,
        skip_on_exit_code=4,
        # What was done stays done: a retry goes on where the try before it has ended.
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
    audit = BashOperator(task_id="audit", bash_command=AUDIT, trigger_rule="all_done")
    upgrade >> audit
