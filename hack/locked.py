"""Reads a lock file: the pinned packages and their hashes."""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_PINNED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)\s*(?:;(?P<marker>.*?))?\\?$"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Package:
    """One line of a lock file."""

    name: str
    version: str
    marker: str
    """The platforms on which it is installed, such as `sys_platform == 'linux'`; empty: all."""
    sha256: tuple[str, ...]
    """The hashes of its files, any of which may be the installed one."""

    @property
    def purl(self) -> str:
        """The package URL (https://github.com/package-url/purl-spec)."""
        return f"pkg:pypi/{re.sub(r'[-_.]+', '-', self.name).lower()}@{self.version}"


def read(path: Path) -> list[Package]:
    """Return the packages of a lock file in its order.

    Raises:
        ValueError: A line is neither a pinned package nor a hash, so that none is overlooked.
    """
    packages: list[Package] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if found := _HASH.match(text):
            last = packages[-1]
            packages[-1] = Package(last.name, last.version, last.marker, (*last.sha256, found[1]))
        elif found := _PINNED.match(text):
            marker = (found["marker"] or "").strip()
            packages.append(Package(found["name"], found["version"], marker, ()))
        else:
            raise ValueError(f"{path}: not a pinned package: {text}")
    return packages
