"""Spark job cutover: move the alias to the target, after a fresh, passing validation.

Submit it with the options of ``embedshift cutover``:

    spark-submit --master spark://HOST:7077 jobs/cutover.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("cutover")
