"""An Airflow DAG: upgrade by night, then the daily audit.

Exit code 4 means that another run owns the migration, or that a person must decide first. The task is then skipped, and
hooks report it.
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
        # What is done stays done: a retry continues where the attempt before it stopped.
        retries=3,
        retry_delay=timedelta(minutes=10),
    )
    audit = BashOperator(task_id="audit", bash_command=AUDIT, trigger_rule="all_done")
    upgrade >> audit
