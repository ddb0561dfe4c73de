"""Spark job rollback: carry what was written since the cutover back, then move the alias back.

Submit it with the options of ``embedshift rollback``:

    spark-submit --master spark://HOST:7077 jobs/rollback.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("rollback")
