"""`python launcher.py PARENT COMMAND…`: become COMMAND, and die when PARENT does.

So that a demo that was killed leaves no operator behind. The process id is the command's own, so
signals reach it directly. Only Linux can do this; elsewhere a killed demo leaves its operator.
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
        if os.getppid() != int(sys.argv[1]):  # it died before this was asked for
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - the demo's own commands
