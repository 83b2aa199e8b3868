"""The folder that an import writes to: reads its manifests, and loses no file in it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from cse_operator.api.names import KIND
from cse_operator.cli.manifests import Manifest, ManifestError, read_paths

KUSTOMIZATION: Final = "kustomization.yaml"
HEADER: Final = "# Written by cse-operator import, and again by each run that adds a manifest.\n"

_PLACEHOLDER: Final = re.compile(r"\{(.*?)\}")

EngineName = tuple[str, str, str]
"""Region, project and id of an engine."""


class FolderError(Exception):
    """A file cannot be written where the flags ask for it; the text says why."""


def engine_of(spec: dict[str, Any]) -> EngineName:
    """Return the engine that a spec names."""
    return (str(spec.get("region")), str(spec.get("projectId")), str(spec.get("engineId")))


@dataclass(slots=True)
class Folder:
    """A folder and the engines' manifests in it."""

    path: Path
    known: dict[EngineName, Manifest] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    """Files that hold a single document."""

    @classmethod
    def at(cls, path: Path) -> Folder:
        """Read a folder, which may not exist yet.

        Raises:
            ManifestError: A file in it cannot be read, so the engines that it names are unknown.
        """
        folder = cls(path)
        if path.exists() and not path.is_dir():
            raise ManifestError(f"{path}: it is not a folder")
        found = read_paths([path]) if path.is_dir() else []
        for manifest in (one for one in found if one.kind == KIND):
            folder.known.setdefault(engine_of(manifest.spec), manifest)
        files = [manifest.origin for manifest in folder.known.values()]
        folder.alone = {file for file in files if files.count(file) == 1 and _is_one(Path(file))}
        return folder

    def names(self, namespace: str | None) -> set[str]:
        """Return the names that the folder's resources have in a namespace."""
        return {
            manifest.name
            for manifest in self.known.values()
            if manifest.metadata.get("namespace") == namespace
        }

    def place(self, pattern: str, values: dict[str, str]) -> Path:
        """Return the file of a manifest.

        Raises:
            FolderError: The pattern is invalid, or leads out of the folder.
        """
        unknown = set(_PLACEHOLDER.findall(pattern)) - values.keys()
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in values)
            raise FolderError(f"--path-pattern {pattern!r} may only hold {known}")
        relative = _PLACEHOLDER.sub(lambda found: values[found[1]], pattern)
        place = self.path / relative
        if not place.resolve().is_relative_to(self.path.resolve()) or place.suffix != ".yaml":
            sentence = "it has to lead to a file below the folder that ends in .yaml"
            raise FolderError(f"--path-pattern {pattern!r} leads to {relative}: {sentence}")
        return place

    def write(self, place: Path, text: str, *, over: bool) -> bool:
        """Write a file unless it has this content already, and return whether it was written.

        Raises:
            FolderError: The file has other content and `over` is false, or it cannot be written.
        """
        if place.exists():
            if place.read_text(encoding="utf-8") == text:
                return False
            if not over:
                raise FolderError(f"{place} exists with other content (see --overwrite)")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            partial = place.with_name(f".{place.name}.partial")
            partial.write_text(text, encoding="utf-8")
            partial.replace(place)
        except OSError as error:
            raise FolderError(f"{place} cannot be written: {error.strerror}") from None
        return True

    def write_kustomization(self, files: Iterable[Path]) -> bool:
        """Write the kustomization of these files, and return whether it was written.

        Raises:
            FolderError: The folder has a kustomization that no import wrote, and it lacks files.
        """
        place = self.path / KUSTOMIZATION
        resources = sorted({file.relative_to(self.path).as_posix() for file in files})
        text = HEADER + yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": resources,
            },
            sort_keys=False,
        )
        ours = not place.exists() or place.read_text(encoding="utf-8").startswith(HEADER)
        if ours:
            return self.write(place, text, over=True)
        listed = yaml.safe_load(place.read_text(encoding="utf-8")) or {}
        missing = [name for name in resources if name not in (listed.get("resources") or [])]
        if missing:
            sentence = "was not written by this command; add to its resources: "
            raise FolderError(f"{place} {sentence}{', '.join(missing)}")
        return False


def _is_one(file: Path) -> bool:
    """Whether a file holds a single document."""
    text = file.read_text(encoding="utf-8")
    return len(re.findall(r"^---", text, re.MULTILINE)) <= (1 if text.startswith("---") else 0)
