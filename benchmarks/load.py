"""What `chiasm serve` costs and does under load; see README.md."""

import sys

from chiasm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "load", *sys.argv[1:]]))
