"""`python -m cse_simulator` is `cse-simulator`."""

import sys

from cse_simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
