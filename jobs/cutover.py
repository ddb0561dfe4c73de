"""Spark job cutover: move the alias to the target, after a fresh, passing validation.

Submit it with the options of ``embedshift cutover``:

    spark-submit --master spark://HOST:7077 jobs/cutover.py --config my.yaml
"""

import sys

from embedshift.cli.app import main

sys.exit(main(["cutover", *sys.argv[1:]]))
