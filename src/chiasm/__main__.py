"""``python -m chiasm`` is ``chiasm``."""

import sys

from chiasm.cli.main import main

sys.exit(main())
