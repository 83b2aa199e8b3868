"""Copies the files that the operator needs into a folder: `hack/image_root.py FOLDER VENV`.

It runs in the image's first stage, on Debian. The folder becomes the whole image: Python with its
libraries, the virtual environment, certificates and time zones. The folder has no shell, no package
manager and no program but Python, so the script copies a list of files instead of removing others.
For scanners it names the Debian packages of the files, as distroless images do: a file for each
package in /var/lib/dpkg/status.d.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

# Parts of the standard library for tests, installers, compilers, windows and macOS, and files
# compiled for other paths. The base image has _tkinter, but not the libraries it is linked to.
LEFT_OUT = (
    "__pycache__",
    "_tkinter.*",
    "config-3.*",
    "dist-packages",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "macholib",
    "pydoc_data",
    "site-packages",
    "test",
    "tkinter",
    "turtle.py",
    "turtledemo",
    "venv",
)
DATA = (
    "/etc/os-release",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/usr/lib/ssl/cert.pem",
    "/usr/lib/ssl/certs",
    "/usr/lib/ssl/openssl.cnf",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
)
EMPTY = ("dev", "etc", "proc", "run", "sys", "tmp", "var/tmp")
USERS = """\
root:x:0:0:root:/:/sbin/nologin
cse-operator:x:65532:65532:cse-operator:/:/sbin/nologin
"""
GROUPS = "root:x:0:\ncse-operator:x:65532:\n"
ELF = b"\x7fELF"


class Root:
    """The folder, with files under the paths that they have here."""

    def __init__(self, folder: Path) -> None:
        """Begin with an empty folder."""
        self.folder = folder
        self.files: set[Path] = set()
        """The source paths of the copied files, with symbolic links resolved."""

    def add(self, path: Path, left_out: Sequence[str] = ("__pycache__",)) -> None:
        """Copy a file or a whole folder, and every symbolic link on the way to it.

        Args:
            path: The file or the folder, which may be missing.
            left_out: Patterns of the names of files and folders that are not copied.
        """
        real = self._links_to(path)
        if real.is_dir():
            self._inside(real).mkdir(parents=True, exist_ok=True)
            for child in sorted(real.iterdir()):
                if not any(fnmatch(child.name, pattern) for pattern in left_out):
                    self.add(child, left_out)
        elif real.exists() and real not in self.files:
            copy = self._inside(real)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(real, copy)
            if real.parent.name != "bin" and not _begins_with(real, ELF):
                copy.chmod(0o644)  # scripts among the modules are not executable
            self.files.add(real)

    def write(self, path: str, text: str) -> None:
        """Write a file with this text."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _links_to(self, path: Path) -> Path:
        """Copy the symbolic links that lead to a path, and return the path that they lead to."""
        current, rest = Path("/"), list(path.parts[1:])
        while rest:
            step = current / rest.pop(0)
            if not step.is_symlink():
                current = step
                continue
            link = self._inside(step)
            if not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(step.readlink())
            target = Path(os.path.normpath(step.parent / step.readlink()))
            current, rest = Path("/"), [*target.parts[1:], *rest]
        return current

    def _inside(self, path: Path) -> Path:
        return self.folder / path.relative_to("/")


def main() -> int:
    """Fill the folder and return 0."""
    folder, environment = Path(sys.argv[1]), Path(sys.argv[2])
    root = Root(folder)
    for name in EMPTY:
        (folder / name).mkdir(parents=True)
    for name in ("tmp", "var/tmp"):
        (folder / name).chmod(0o1777)
    (folder / "var/run").symlink_to("/run")  # where a Pod finds its service account
    root.add(Path(os.path.realpath(sys.executable)))
    for name in ("stdlib", "platstdlib"):
        root.add(Path(sysconfig.get_path(name)), LEFT_OUT)
    root.add(environment)
    clear(folder / environment.relative_to("/"))
    for name in DATA:
        root.add(Path(name))
    # The image's file system is read-only. Python uses these caches without comparing them with
    # their sources, whatever the files' dates.
    unseen = py_compile.PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(
        folder, quiet=1, stripdir=folder, prependdir="/", invalidation_mode=unseen
    ):
        return 1
    for library in libraries(root.files):
        root.add(library)
    root.write("etc/passwd", USERS)
    root.write("etc/group", GROUPS)
    for package in packages(root.files):
        described = _output("dpkg-query", "--status", package)
        root.write(f"var/lib/dpkg/status.d/{package.partition(':')[0]}", described)
        root.add(Path(f"/usr/share/doc/{package.partition(':')[0]}/copyright"))
    return 0


def clear(environment: Path) -> None:
    """Remove the files of a virtual environment that the operator does not run.

    These are the commands of libraries, the scripts for shells, and the tests of libraries.
    """
    for command in (environment / "bin").iterdir():
        if not re.fullmatch(r"cse-operator|python[0-9.]*", command.name):
            command.unlink()
    for tests in environment.glob("lib/*/site-packages/*/tests"):
        shutil.rmtree(tests)


def libraries(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the shared libraries that programs and libraries are linked to, and their loader.

    Raises:
        RuntimeError: A library is missing, so the image would not run.
    """
    linked = [str(file) for file in files if _begins_with(file, ELF)]
    listing = _output("ldd", *linked, may_fail=True)  # it fails if a file is linked to no library
    if "not found" in listing:
        raise RuntimeError(f"a shared library is missing:\n{listing}")
    found = re.findall(r"^\t(?:\S+ => )?(/\S+) \(0x", listing, re.MULTILINE)
    yield from (Path(name) for name in sorted(set(found)))


def packages(files: Iterable[Path]) -> list[str]:
    """Return the names of the Debian packages that the files belong to, if they belong to one.

    Raises:
        RuntimeError: No file belongs to a package, so that scanners would find nothing.
    """
    names = {str(file) for file in files}
    # Packages older than the merge of /lib into /usr/lib list their files by the old paths.
    names |= {name.removeprefix("/usr") for name in names if name.startswith("/usr/lib")}
    answer = _output(
        "dpkg-query", "--search", *sorted(names), may_fail=True
    )  # it fails if a file has none
    owners = re.findall(r"^(\S+): /", answer, re.MULTILINE)
    if not owners:
        raise RuntimeError("no file belongs to a Debian package")
    return sorted(set(owners))


def _begins_with(file: Path, beginning: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(beginning)) == beginning


def _output(*command: str, may_fail: bool = False) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=not may_fail)  # noqa: S603 - named here
    return result.stdout


if __name__ == "__main__":
    sys.exit(main())
