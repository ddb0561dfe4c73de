"""Spark job migrate: run prepare to cutover in order, from where an earlier run stopped.

Submit it with the options of ``embedshift migrate``:

    spark-submit --master spark://HOST:7077 jobs/migrate.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("migrate")
