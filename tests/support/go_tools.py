"""Other projects' tools and files, fetched once per machine by the Go modules that pin them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
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
    return _cached(module, _build) / name


def files(module: str, dependency: str, folder: str) -> Path:
    """Return the path of a folder of another module, downloading it unless it is in the cache.

    Args:
        module: The folder in `tests` whose go.mod requires it, and whose go.sum has its hash.
        dependency: The other module's path.
        folder: The folder in it.
    """

    def download(go: Path, directory: Path, target: Path) -> None:
        command = [str(go), "mod", "download", "-json", dependency]
        answer = subprocess.run(
            command, cwd=directory, env=_environment(), check=True, stdout=subprocess.PIPE
        )
        shutil.copytree(Path(json.loads(answer.stdout)["Dir"]) / folder, target)

    return _cached(module, download)


def _cached(module: str, make: Callable[[Path, Path, Path], None]) -> Path:
    """Return what is made from a module's go.mod and go.sum, once per machine."""
    directory = ROOT / "tests" / module
    inputs = b"".join((directory / file).read_bytes() for file in ("go.mod", "go.sum"))
    cache = cache_directory()
    folder = cache / f"{module}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            wanted = recipe()
            assert wanted is not None
            go = find_go(wanted, cache, lambda _line: None)
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # what an interrupted run left
            make(go, directory, partial)
            partial.rename(folder)
    return folder


def _build(go: Path, directory: Path, target: Path) -> None:
    command = [str(go), "build", "-mod=readonly", "-trimpath", "-o", f"{target}/", "tool"]
    subprocess.run(command, cwd=directory, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
