"""Conversion between plain dataclasses and camelCase JSON, with a message for each mistake."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

Record = TypeVar("Record")

_known_fields: dict[type[Any], dict[str, tuple[str, Any]]] = {}


def camel_case(name: str) -> str:
    """Return the JSON spelling of a Python name: `job_seconds` becomes `jobSeconds`."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def _fields(record: type[Any]) -> dict[str, tuple[str, Any]]:
    known = _known_fields.get(record)
    if known is None:
        hints = typing.get_type_hints(record)
        known = _known_fields[record] = {
            camel_case(field.name): (field.name, hints[field.name])
            for field in dataclasses.fields(record)
            if field.init
        }
    return known


def arguments(record: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return keyword arguments for a dataclass from its JSON form.

    Raises:
        ValueError: A name is unknown or a value has the wrong type.
    """
    known = _fields(record)
    found = {}
    for key, value in values.items():
        if key not in known:
            raise ValueError(f"{key!r} is unknown; there are {', '.join(sorted(known))}")
        name, hint = known[key]
        found[name] = _read(key, value, hint)
    return found


def read(record: type[Record], values: Any) -> Record:
    """Make a dataclass from its JSON form.

    Raises:
        ValueError: It is not a mapping, a name is unknown or missing, or a value has a wrong type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"a mapping is needed, not {values!r}")  # noqa: TRY004 - one error type
    try:
        return record(**arguments(record, values))
    except TypeError as missing:
        raise ValueError(str(missing)) from missing


def write(record: Any) -> dict[str, Any]:
    """Return a dataclass as JSON, without the fields that hold their default."""
    written = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if value != field.default:
            written[camel_case(field.name)] = list(value) if isinstance(value, tuple) else value
    return written


def _read(key: str, value: Any, hint: Any) -> Any:
    if hint is Any:
        return value
    if get_origin(hint) in {Union, types.UnionType}:
        return _read_union(key, value, get_args(hint))
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{key} must be one of {list(get_args(hint))}, not {value!r}")
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_read(key, item, get_args(hint)[0]) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    expected = get_origin(hint) or hint
    if type(value) is not expected:
        raise ValueError(f"{key} must be a {expected.__name__}, not {value!r}")
    return value


def _read_union(key: str, value: Any, hints: tuple[Any, ...]) -> Any:
    if value is None and types.NoneType in hints:
        return None
    problems = []
    for hint in hints:
        if hint is not types.NoneType:
            try:
                return _read(key, value, hint)
            except ValueError as problem:
                problems.append(str(problem))
    raise ValueError("; or ".join(problems))
