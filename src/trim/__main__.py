"""`python -m trim`: the command line."""

import sys

from trim.cli.main import main

sys.exit(main())
