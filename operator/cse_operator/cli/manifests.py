"""Reads the manifests of engines and policies from files, folders and text, with their lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from cse_operator.api.names import CLUSTER_POLICY_KIND, GROUP, KIND, POLICY_KIND

STANDARD_INPUT: Final = "standard input"
KINDS: Final = (CLUSTER_POLICY_KIND, KIND, POLICY_KIND)
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


class ManifestError(Exception):
    """A manifest cannot be read; the text says which one and why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One resource as its manifest states it."""

    origin: str
    """The file, or another source of the text, such as standard input."""
    line: int | None
    """The line of `spec.version`, else of `spec` or of the manifest; None without a file."""
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its kind: an engine, a policy, or a kind that does not exist."""
        return str(self.content.get("kind"))

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata; empty where there is none."""
        found = self.content.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec; empty where there is none."""
        found = self.content.get("spec")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        """Its name; empty where there is none."""
        return str(self.metadata.get("name") or "")


def read_paths(paths: Iterable[Path]) -> list[Manifest]:
    """Read all resources of the operator in files, and in folders with their subfolders.

    Raises:
        ManifestError: A path does not exist, or a file cannot be read.
    """
    return [found for path in paths for file in _files(path) for found in _read_file(file)]


def read_text(text: str, origin: str = STANDARD_INPUT, *, lines: bool = False) -> list[Manifest]:
    """Read all resources of the operator in a text of YAML or JSON documents.

    Args:
        text: The documents.
        origin: The source of the text, for messages.
        lines: Whether the origin is a file, so that lines can be named.

    Raises:
        ManifestError: The text is not YAML.
    """
    try:
        return list(_documents(text, origin, lines=lines))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark is not None else origin
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise ManifestError(f"{where}: {problem}") from None


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = (file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())
        return sorted(
            file
            for file in found
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
    if not path.exists():
        raise ManifestError(f"{path}: there is no such file or folder")
    return [path]


def _read_file(path: Path) -> list[Manifest]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: it cannot be read: {error}") from None
    return read_text(text, str(path), lines=True)


def _documents(text: str, origin: str, *, lines: bool) -> Iterator[Manifest]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                raise AssertionError("the YAML loader announced a document and returned none")
            _refuse_doubles(node)
            content = loader.construct_document(node)
            for item, its_node in _items(content, node):
                if _is_ours(item):
                    line = _line_of(its_node, ("spec", "version")) if lines else None
                    yield Manifest(origin, line, item)
    finally:
        loader.dispose()


def _is_ours(content: Any) -> bool:
    """Whether a document is of the operator's API group, in any version and of any kind."""
    if not isinstance(content, dict):
        return False
    return str(content.get("apiVersion")).partition("/")[0] == GROUP


def _items(content: Any, node: yaml.Node) -> Iterator[tuple[Any, yaml.Node]]:
    """Yield the document, or its items if it is a list as kubectl prints one."""
    is_list = isinstance(content, dict) and str(content.get("kind")).endswith("List")
    items = content.get("items") if is_list else None
    its_node = _child(node, "items")
    if not isinstance(items, list) or not isinstance(its_node, yaml.SequenceNode):
        yield content, node
        return
    yield from zip(items, its_node.value, strict=True)


def _child(node: yaml.Node, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _line_of(node: yaml.Node, path: Sequence[str]) -> int:
    for key in path:
        child = _child(node, key)
        if child is None:
            break
        node = child
    return int(node.start_mark.line) + 1


def _refuse_doubles(node: yaml.Node) -> None:
    """Refuse a duplicate key, as kubectl does; the YAML loader would take the last one."""
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_doubles(item)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} is written twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        _refuse_doubles(value)
