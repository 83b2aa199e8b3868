"""Prometheus' own tools, from PATH or unpacked from Debian's packages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prometheus_tools(tmp_path_factory) -> Path:
    """The folder with `prometheus` and `promtool`."""
    return _tools("prometheus", ("prometheus", "promtool"), tmp_path_factory)


@pytest.fixture(scope="session")
def alertmanager_tools(tmp_path_factory) -> Path:
    """The folder with `amtool`."""
    return _tools("prometheus-alertmanager", ("amtool",), tmp_path_factory)


def _tools(package: str, programs: tuple[str, ...], tmp_path_factory) -> Path:
    found = shutil.which(programs[-1])
    if found and all(shutil.which(program) for program in programs):
        return Path(found).parent
    folder = tmp_path_factory.mktemp(package)
    assert shutil.which("apt-get"), f"install {' and '.join(programs)}, or run on Debian"
    command = ["apt-get", "download", "-qq", package]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(command, cwd=folder, check=True)
    (archive,) = folder.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
    return folder / "usr" / "bin"
