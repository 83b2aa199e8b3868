"""Other projects' tools, built once per machine from the Go modules that pin them."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from cse_simulator.control_plane.assets import cache_directory
from cse_simulator.control_plane.building import find_go, recipe
from support.repository import ROOT

BUILD_SECONDS = 1800
"""Time-out of the tests that may have to build first: some minutes on two cores."""


def tool(module: str, name: str) -> Path:
    """Return the path of a tool, building those of its module unless they are in the cache.

    Args:
        module: The folder in `tests` whose go.mod names the tools.
        name: The tool's.
    """
    directory = ROOT / "tests" / module
    inputs = b"".join((directory / file).read_bytes() for file in ("go.mod", "go.sum"))
    cache = cache_directory()
    folder = cache / f"{module}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build(directory, folder)
    return folder / name


def _build(directory: Path, folder: Path) -> None:
    wanted = recipe()
    assert wanted is not None
    go = find_go(wanted, folder.parent, lambda _line: None)
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)  # what an interrupted build left
    subprocess.run(
        [str(go), "build", "-mod=readonly", "-trimpath", "-o", f"{partial}/", "tool"],
        cwd=directory,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        check=True,
    )
    partial.rename(folder)
