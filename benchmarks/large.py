"""Search in 100,000 items, with and without filters; see README.md."""

import sys

from chiasm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "large", *sys.argv[1:]]))
