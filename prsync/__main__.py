"""python -m prsync"""

import sys

from prsync.commands.main import main

sys.exit(main())
