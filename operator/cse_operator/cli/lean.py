"""Keeps out of the long-running process what it would load and never use.

Two libraries load much more than is used of them here, and a third of the memory of an operator
at rest would be theirs (docs/performance.md, Memory):

- `kubernetes` loads its synchronous client, with `requests`, `urllib3`, `oauthlib` and
  `websocket`, whenever its asynchronous one is imported, and with that one its dynamic client,
  its streams and more. The folders of both packages under the same names, without their
  `__init__`, have what is asked for alone.
- `httpx` loads its command line, with `click`, `rich` and `pygments`, where these are installed.

Both are prepared for it: kopf and httpx go on without what cannot be imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

LEFT_OUT: Final = ("kubernetes.client", "click")
"""Modules whose import fails from now on, as if they were not installed."""

LARGE_BLOCK: Final = 64 * 1024

_PACKAGES: Final = ("kubernetes", "kubernetes.aio")

# The numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def leave_out_the_unused() -> None:
    """Do so in this process; to be called before anything else of this program is imported.

    Raises:
        ModuleNotFoundError: `kubernetes` is not installed.
    """
    for name in _PACKAGES:
        _have_only_the_folder_of(name)
    for name in LEFT_OUT:  # None is how an import is made to fail
        sys.modules[name] = None  # type: ignore[assignment]


def _have_only_the_folder_of(package: str) -> None:
    found = importlib.util.find_spec(package)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    spec = ModuleSpec(package, loader=None, is_package=True)
    spec.submodule_search_locations = found.submodule_search_locations
    module = ModuleType(package)
    module.__spec__ = spec
    module.__path__ = list(found.submodule_search_locations)
    sys.modules[package] = module


def give_back_what_is_freed() -> None:
    """Have what is freed go back to the system, and not wait for a next use.

    Pages of a listing come and go in blocks of up to a megabyte, and glibc by itself keeps ever
    larger ones for the next: a sixth of the memory at rest. It also gives each thread an arena of
    its own, of which nothing goes back to the others: some megabytes for the few threads that look
    up names. Where the C library is another one (musl), nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2 * LARGE_BLOCK)
        mallopt(_M_ARENA_MAX, 1)
