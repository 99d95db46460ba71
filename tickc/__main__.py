"""`python -m tickc`."""

import sys

from tickc.cli import main

if __name__ == "__main__":
    sys.exit(main())
