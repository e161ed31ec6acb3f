"""`python -m objectstorage`: the command line."""

import sys

from objectstorage.cli.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
