"""Keeps out of the long-running process what it would load and never use.

Two libraries load much more than is used of them here, and a third of the memory of an operator
at rest would be theirs (docs/performance.md, Memory):

- `kubernetes` loads its synchronous client, with `requests`, `urllib3`, `oauthlib` and
  `websocket`, whenever its asynchronous one is imported. The package's folder under the same
  name, without its `__init__`, has the asynchronous one alone.
- `httpx` loads its command line, with `rich` and `pygments`, where these are installed.

Both are prepared for it: kopf and httpx go on without what cannot be imported.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

LEFT_OUT: Final = ("kubernetes.client", "rich")
"""Modules whose import fails from now on, as if they were not installed."""

LARGE_BLOCK: Final = 64 * 1024

_PACKAGE: Final = "kubernetes"

# The numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def leave_out_the_unused() -> None:
    """Do so in this process; to be called before anything else of this program is imported.

    Raises:
        ModuleNotFoundError: `kubernetes` is not installed.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {_PACKAGE!r}", name=_PACKAGE)
    spec = ModuleSpec(_PACKAGE, loader=None, is_package=True)
    spec.submodule_search_locations = found.submodule_search_locations
    package = ModuleType(_PACKAGE)
    package.__spec__ = spec
    package.__path__ = list(found.submodule_search_locations)
    sys.modules[_PACKAGE] = package
    for name in LEFT_OUT:  # None is how an import is made to fail
        sys.modules[name] = None  # type: ignore[assignment]


def give_back_large_blocks() -> None:
    """Have what is freed in large blocks go back to the system, and not wait for a next use.

    Pages of a listing come and go in blocks of up to a megabyte, and glibc by itself keeps ever
    larger ones for the next: a sixth of the memory at rest. Where the C library is another one
    (musl), nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, 2 * LARGE_BLOCK)
