"""`python -m trim.cli`: the command line, as `python -m trim` is."""

import sys

from trim.cli.main import main

sys.exit(main())
