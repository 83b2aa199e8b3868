"""`python die_with_parent.py PARENT COMMAND…`: become COMMAND, and die when PARENT does.

The process id is that of the command itself, so a signal reaches it directly. Linux only; the
kernel looks at the *thread* that started this, so start it from a thread that stays.
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
        if os.getppid() != int(sys.argv[1]):  # it died before we asked
            sys.exit(1)
    os.execv(sys.argv[2], sys.argv[2:])
