"""Spark job sync: compare both tables and repair what differs, until a pass finds nothing.

Submit it with the options of ``embedshift sync``:

    spark-submit --master spark://HOST:7077 jobs/sync.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("sync")
