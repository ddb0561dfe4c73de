"""Spark job rollback: carry what was written since the cutover back, then move the alias back.

Submit it with the options of ``embedshift rollback``:

    spark-submit --master spark://HOST:7077 jobs/rollback.py --config my.yaml
"""

import sys

from embedshift.cli.app import main

sys.exit(main(["rollback", *sys.argv[1:]]))
