"""Spark job upgrade: bring the alias to a model, for schedulers.

Submit it with the options of ``embedshift upgrade``:

    spark-submit --master spark://HOST:7077 jobs/upgrade.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("upgrade")
