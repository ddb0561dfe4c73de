"""Spark job load: scan the source by token ranges, embed every row, write it into the target.

Submit it with the options of ``embedshift load``:

    spark-submit --master spark://HOST:7077 jobs/load.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("load")
