"""`python die_with_parent.py PARENT COMMAND…`: become COMMAND, and die when PARENT dies.

COMMAND takes over the process id, so a signal reaches it directly. Linux only. The kernel watches
the *thread* that started this process, so start it from a thread that lives long enough.
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
    os.execv(sys.argv[2], sys.argv[2:])
