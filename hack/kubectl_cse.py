"""Makes `kubectl cse` as one file, or its files for krew. The same sources give the same bytes.

    hack/kubectl_cse.py FOLDER [REPOSITORY]

Without REPOSITORY, it writes `kubectl-cse` into FOLDER, a zip file that any Python from 3.11 on
runs. With REPOSITORY, the address of the sources, it writes `kubectl-cse.tar.gz`, which a release
publishes, and `cse.yaml`, the manifest by which krew installs it.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "operator"
NAME = "kubectl-cse"
SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = """\
import sys

if sys.version_info < (3, 11):
    raise SystemExit("kubectl cse needs Python 3.11 or later, and python3 is " + sys.version[:6])

from cse_operator.kubectl.main import main

raise SystemExit(main())
"""
"""The first module that runs. Any Python 3 can parse it; the other modules need 3.11."""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The date of every file, so that the bytes stay the same: the earliest in the zip format."""
EXECUTABLE = 0o755


def modules() -> list[Path]:
    """Return the source files of the plug-in."""
    package = SOURCES / "cse_operator"
    shared = [
        package / "__init__.py",
        package / "api" / "__init__.py",
        package / "api" / "names.py",
    ]
    return sorted([*shared, *(package / "kubectl").glob("*.py")])


def zipped() -> bytes:
    """Return the plug-in as one executable file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {file.relative_to(SOURCES).as_posix(): file.read_text() for file in modules()}
        for name, text in {"__main__.py": MAIN, **files}.items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return SHEBANG + content.getvalue()


def packed(plugin: bytes) -> bytes:
    """Return the archive of a release: the plug-in, and the licence that krew keeps beside it."""
    content = io.BytesIO()
    files = {NAME: plugin, "LICENSE": (ROOT / "LICENSE").read_bytes()}
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=content, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), EXECUTABLE if name == NAME else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def krew_manifest(archive: bytes, repository: str, version: str) -> dict[str, Any]:
    """Return the manifest by which krew installs the archive of a release."""
    return {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "cse"},
        "spec": {
            "version": f"v{version}",
            "homepage": repository,
            "shortDescription": "Upgrade Huawei Cloud CSE engines by GitOps",
            "description": "Shows and steers the upgrades that cse-operator makes of Huawei Cloud "
            "CSE engines:\ntheir state, what holds them, the progress of a job; suspend, resume, "
            "retry, approve.\n",
            "caveats": "It needs Python 3.11 or later as python3.\n"
            "For completion: kubectl cse completion kubectl\n",
            "platforms": [
                {
                    "selector": {
                        "matchExpressions": [
                            {"key": "os", "operator": "In", "values": ["linux", "darwin"]}
                        ]
                    },
                    "uri": f"{repository}/releases/download/v{version}/{NAME}.tar.gz",
                    "sha256": hashlib.sha256(archive).hexdigest(),
                    "bin": NAME,
                }
            ],
        },
    }


def write(folder: Path, repository: str | None = None) -> None:
    """Write the plug-in, or with a repository the files that a release publishes, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    plugin = zipped()
    if repository is None:
        (folder / NAME).write_bytes(plugin)
        (folder / NAME).chmod(EXECUTABLE)
        return
    archive = packed(plugin)
    (folder / f"{NAME}.tar.gz").write_bytes(archive)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    manifest = krew_manifest(archive, repository, str(project["version"]))
    text = yaml.safe_dump(manifest, sort_keys=False, width=100)
    (folder / "cse.yaml").write_text(text, encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Write the files and return the exit code."""
    if len(arguments) not in {1, 2}:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    write(Path(arguments[0]), *arguments[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
