"""Prometheus' own tools: from PATH, else unpacked from Debian's package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def prometheus_tools(tmp_path_factory) -> Path:
    """The folder with `prometheus` and `promtool`."""
    found = shutil.which("promtool")
    if found and shutil.which("prometheus"):
        return Path(found).parent
    folder = tmp_path_factory.mktemp("prometheus")
    assert shutil.which("apt-get"), "install prometheus and promtool, or run on Debian"
    command = ["apt-get", "download", "-qq", "prometheus"]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(command, cwd=folder, check=True)
    (package,) = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return folder / "usr" / "bin"
