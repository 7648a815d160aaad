"""Startup, memory and one request of `chiasm serve`; see README.md."""

import sys

from chiasm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "serving", *sys.argv[1:]]))
