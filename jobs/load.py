"""Spark job load: scan the source by token ranges, embed every row, write it into the target.

Submit it with the options of ``embedshift load``:

    spark-submit --master spark://HOST:7077 jobs/load.py --config my.yaml
"""

import sys

from embedshift.cli.app import main

sys.exit(main(["load", *sys.argv[1:]]))
