"""Refuses manifests that a kustomization changes, if they are read as plain files.

`-f` reads files as they are. If a kustomization moves them to a namespace or patches them, a plan
of the plain files would forecast something else than what is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cse_operator.api.names import CLUSTER_POLICY_KIND
from cse_operator.cli.manifests import Manifest, ManifestError

_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_CHANGES: Final = (
    *("namePrefix", "nameSuffix", "patches", "patchesStrategicMerge", "patchesJson6902"),
    *("components", "replacements", "transformers", "labels", "commonLabels", "commonAnnotations"),
)
"""The fields, beside `namespace`, that change the resources of a kustomization."""


@dataclass(frozen=True, slots=True)
class _Kustomization:
    file: Path
    content: dict[str, Any]

    @property
    def namespace(self) -> str:
        return str(self.content.get("namespace") or "")

    @property
    def changes(self) -> list[str]:
        return [name for name in _CHANGES if self.content.get(name)]

    def places(self) -> Iterator[Path]:
        """Yield the files and folders that it names."""
        for field in ("resources", "bases"):
            named = self.content.get(field)
            for one in named if isinstance(named, list) else ():
                yield (self.file.parent / str(one)).resolve()


def refuse_changed(
    paths: Sequence[str], manifests: Iterable[Manifest], namespace: str | None
) -> None:
    """Refuse manifests that a kustomization in or above the paths changes.

    Args:
        paths: The files and folders that were read.
        manifests: The manifests in them.
        namespace: The namespace of manifests that name none; None if the command names none.

    Raises:
        ManifestError: A manifest would be planned otherwise than it is applied.
    """
    given = [Path(path).resolve() for path in paths]
    found = {file: one for path in given for file, one in _in_and_above(path)}
    reached = [(_reach(one, found), one) for one in found.values()]
    for manifest in manifests:
        file = Path(manifest.origin).resolve()
        for files, one in reached:
            if file in files:
                _refuse(manifest, one, namespace, _to_build(one, given))


def _to_build(one: _Kustomization, given: Sequence[Path]) -> Path:
    """Return the folder to build: the one that the command names, if it has a kustomization."""
    for path in given:
        if one.file.is_relative_to(path) and any((path / name).is_file() for name in _NAMES):
            return path
    return one.file.parent


def _refuse(manifest: Manifest, one: _Kustomization, namespace: str | None, folder: Path) -> None:
    build = f"-k {_short(folder)}"
    if one.changes:
        raise ManifestError(
            f"{_short(one.file)} changes its resources ({', '.join(one.changes)}), and -f does not"
            f" apply that to {manifest.origin}: say {build}"
        )
    stated = manifest.metadata.get("namespace")
    place = str(stated or namespace or "default")
    if not one.namespace or manifest.kind == CLUSTER_POLICY_KIND or place == one.namespace:
        return
    use = build if stated or namespace else f"-n {one.namespace}, or {build}"
    raise ManifestError(
        f"{_short(one.file)} sets the namespace {one.namespace}, and -f does not apply that:"
        f" {manifest.origin} would be planned in {place}; say {use}"
    )


def _in_and_above(path: Path) -> Iterator[tuple[Path, _Kustomization]]:
    """Yield the kustomizations in a folder, and in those above it that have one each.

    Folders that begin with a dot have no manifests either (`cli/manifests.py`).
    """
    below = (file for name in _NAMES for file in path.rglob(name)) if path.is_dir() else ()
    for file in below:
        if not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file, _read(file)
    for folder in path.parents:
        above = next((folder / name for name in _NAMES if (folder / name).is_file()), None)
        if above is None:
            return
        yield above, _read(above)


def _reach(one: _Kustomization, found: dict[Path, _Kustomization]) -> set[Path]:
    """Return the files and folders that a kustomization names, also by way of others."""
    reached: set[Path] = set()
    open_ = list(one.places())
    while open_:
        place = open_.pop()
        if place in reached:
            continue
        reached.add(place)
        for name in _NAMES:
            open_ += found[place / name].places() if place / name in found else ()
    return reached


def _read(file: Path) -> _Kustomization:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{_short(file)}: it cannot be read: {error}") from None
    return _Kustomization(file, content if isinstance(content, dict) else {})


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
