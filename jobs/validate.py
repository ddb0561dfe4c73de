"""Spark job validate: prove that the target is complete and that it answers as well as the source.

Submit it with the options of ``embedshift validate``:

    spark-submit --master spark://HOST:7077 jobs/validate.py --config my.yaml
"""

from embedshift.__main__ import entry

entry("validate")
