"""What is done to keep the process small."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

from cse_operator.runtime import memory

HOLES = """
import re
from cse_operator.runtime import memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])

blocks = [bytes(2000) for _ in range(20_000)]  # too large for Python's own allocator
blocks = blocks[::100]
before = resident()
memory.give_back()
print(before - resident())
"""


def test_what_lies_free_between_blocks_in_use_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    if _has_glibc():
        assert int(done.stdout) > 20_000, "kilobytes of the forty thousand that lay free"


def test_garbage_is_looked_for_seldom_and_not_among_what_is_there() -> None:
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    try:
        memory.spare_the_collector()
        assert gc.get_threshold() == (memory.COLLECT_AFTER, 20, 20)
        assert gc.get_freeze_count() > frozen
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
