"""python -m prsync"""

import sys

from prsync.cli import main

sys.exit(main())
