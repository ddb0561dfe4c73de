"""Spark job audit: count the rows of the live table without a good vector.

Submit it with the options of ``embedshift audit``:

    spark-submit --master spark://HOST:7077 jobs/audit.py --config my.yaml
"""

import sys

from embedshift.cli.app import main

sys.exit(main(["audit", *sys.argv[1:]]))
