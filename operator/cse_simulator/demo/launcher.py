"""`python launcher.py PARENT COMMAND…`: become COMMAND, and die when PARENT dies.

With it, a killed demo leaves no operator behind. COMMAND takes over the process id, so signals
reach it directly. This works on Linux only; elsewhere a killed demo leaves its operator.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):  # PARENT died before the call above
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the demo's own commands
