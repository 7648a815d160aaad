"""Search in 20,000 items; see README.md."""

import sys

from chiasm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "searching", *sys.argv[1:]]))
