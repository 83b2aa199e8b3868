"""The binary of the Go peers: built once from `benchmarks/peers` and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from cse_simulator.control_plane import building
from cse_simulator.control_plane.assets import cache_directory, report_to_stderr

SOURCES = Path(__file__).resolve().parents[1] / "peers"
_FILES = ("go.mod", "go.sum", "*.go")


def ensure_binary() -> Path:
    """Return the binary; build it if the cache has none of these sources.

    Raises:
        ControlPlaneError: No Go is new enough, and none can be installed.
        subprocess.CalledProcessError: The build failed.
    """
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    binary = cache / f"benchmark-peers-{_digest()}"
    if os.access(binary, os.X_OK):
        return binary
    report_to_stderr("Building the Go peers; once, some minutes on 2 cores.")
    partial = cache / f"{binary.name}.{os.getpid()}"
    subprocess.run(
        [str(_go(cache)), "build", "-mod=readonly", "-trimpath", "-o", str(partial), "."],
        cwd=SOURCES,
        env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
        check=True,
    )
    partial.rename(binary)
    return binary


def _digest() -> str:
    inputs = hashlib.sha256()
    for path in sorted(path for pattern in _FILES for path in SOURCES.glob(pattern)):
        inputs.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return inputs.hexdigest()[:16]


def _go(cache: Path) -> Path:
    """Return a Go for the peers' go.mod, found or installed as for the control plane."""
    text = (SOURCES / "go.mod").read_text()
    found = re.search(r"^go (\d+(?:\.\d+)*)$", text, re.MULTILINE)
    control_plane = building.recipe()
    if found is None or control_plane is None:
        raise RuntimeError("the benchmark runs in a checkout of the repository")
    version = tuple(int(part) for part in found[1].split("."))
    wanted = building.Recipe(
        control_plane.module_directory, control_plane.kubernetes_version, version
    )
    return building.find_go(wanted, cache, report_to_stderr)
