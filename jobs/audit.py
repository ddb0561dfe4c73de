"""Spark job audit: count the rows of the live table without a good vector.

Submit it with the options of ``embedshift audit``:

    spark-submit --master spark://HOST:7077 jobs/audit.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("audit")
