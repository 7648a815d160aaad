"""Pictures a second, beside a bare loop and beside indexing; see README.md."""

import sys

from chiasm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["bench", "--only", "pictures", *sys.argv[1:]]))
