"""Reads the manifests of a plan: files, folders, kustomizations, standard input, a revision."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cse_operator.api.names import GROUP
from cse_operator.cli.manifests import KINDS, Manifest, ManifestError, read_paths, read_text
from cse_operator.cli.planning.kustomizations import refuse_changed

STANDARD_INPUT: Final = "-"
_ASKED_FOR: Final = "Install git, or leave out --base"


@dataclass(frozen=True, slots=True)
class Sources:
    """The places of the manifests."""

    paths: tuple[str, ...] = ()
    kustomizations: tuple[str, ...] = ()
    namespace: str | None = None
    """The namespace of manifests that name none; None if the command names none."""

    def __str__(self) -> str:
        paths = ["standard input" if path == STANDARD_INPUT else path for path in self.paths]
        return ", ".join([*paths, *self.kustomizations])

    def read(self) -> list[Manifest]:
        """Read all engines and policies.

        Raises:
            ManifestError: A manifest cannot be read, has a kind that does not exist, or is changed
                by a kustomization that was not asked for.
        """
        found = self._read()
        files = [path for path in self.paths if path != STANDARD_INPUT]
        refuse_changed(files, (one for one in found if one.line is not None), self.namespace)
        for one in found:
            if one.kind not in KINDS:
                place = one.origin if one.line is None else f"{one.origin}:{one.line}"
                raise ManifestError(
                    f"{place}: there is no kind {one.kind} in {GROUP}: its kinds are"
                    f" {', '.join(KINDS)}"
                )
        return found

    def _read(self) -> list[Manifest]:
        found: list[Manifest] = []
        for path in self.paths:
            if path == STANDARD_INPUT:
                found += read_text(sys.stdin.read())
            else:
                found += read_paths([Path(path)])
        for folder in self.kustomizations:
            found += read_text(_built(Path(folder)), folder)
        return found

    def read_at(self, revision: str) -> list[Manifest]:
        """Read the manifests of a git revision; a path that it lacks is skipped.

        A kind that does not exist is skipped too, and files are read as they are, whatever a
        kustomization changes: a merge may correct both.

        Raises:
            ManifestError: The revision, a path or a manifest in it cannot be read.
        """
        if STANDARD_INPUT in self.paths:
            raise ManifestError("--base compares files with a git revision, not standard input")
        top = Path(_git("rev-parse", "--show-toplevel").decode().strip()).resolve()
        with _checked_out(top, revision) as tree:
            there = Sources(
                tuple(self._moved(self.paths, top, tree)),
                tuple(self._moved(self.kustomizations, top, tree)),
                self.namespace,
            )
            return [one for one in there._read() if one.kind in KINDS]

    @staticmethod
    def _moved(paths: Sequence[str], top: Path, tree: Path) -> Iterator[str]:
        for path in paths:
            absolute = Path(path).resolve()
            if not absolute.is_relative_to(top):
                raise ManifestError(f"{path} is not in the repository {top}")
            moved = tree / absolute.relative_to(top)
            if moved.exists():
                yield str(moved)


@contextmanager
def _checked_out(top: Path, revision: str) -> Iterator[Path]:
    """Yield a folder with the files of a revision."""
    if revision.startswith("-"):
        raise ManifestError(f"{revision} is not a git revision")
    archive = _git("archive", "--format=tar", revision, at=top)
    with tempfile.TemporaryDirectory(prefix="cse-plan-") as folder:
        tree = Path(folder).resolve()
        _unpack(archive, tree)
        yield tree


def _unpack(archive: bytes, tree: Path) -> None:
    """Write the regular files of an archive, and no links: a link could lead out of the folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            place = (tree / member.name).resolve()
            content = files.extractfile(member) if member.isfile() else None
            if content is not None and place.is_relative_to(tree):
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content.read())


def _git(*arguments: str, at: Path | None = None) -> bytes:
    return _output(["git", *arguments], _ASKED_FOR, at)


def _built(folder: Path) -> str:
    """Return the objects of a kustomization, as kubectl or kustomize builds them."""
    for tool, arguments in (("kubectl", ["kustomize"]), ("kustomize", ["build"])):
        if shutil.which(tool):
            return _output([tool, *arguments, str(folder)], "Correct it").decode()
    raise ManifestError(f"{folder}: install kubectl or kustomize to build it")


def _output(command: list[str], way_out: str, at: Path | None = None) -> bytes:
    try:
        result = subprocess.run(  # noqa: S603 - named here, and no shell
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd=at
        )
    except OSError as error:
        raise ManifestError(f"{command[0]} cannot be run: {error.strerror}. {way_out}") from None
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip()
        raise ManifestError(f"{' '.join(command[:2])}: {said}")
    return result.stdout
