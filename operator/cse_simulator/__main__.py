"""`python -m cse_simulator`: the simulator for shell users."""

import sys

from cse_simulator.vendor.cli import main

if __name__ == "__main__":
    sys.exit(main())
