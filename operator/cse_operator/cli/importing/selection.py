"""Selects the engines to import, names their resources and writes their manifests. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Final

from pydantic import ValidationError

from cse_operator.api.names import API_VERSION, KIND
from cse_operator.api.spec import Spec
from cse_operator.core.vendor_states import BUSY_STATUSES, UNUSABLE_STATUSES, UPGRADE_FAILED
from cse_operator.core.views import EngineView

TYPES: Final = ("CSE", "NACOS", "MICROGATEWAY")
"""The types of engines that the upgrade call is documented for (CSE API Reference)."""

NAME_LIMIT: Final = 63
ID_DIGITS: Final = 8

_LEFT_OUT: Final = (BUSY_STATUSES | UNUSABLE_STATUSES | {"Unknown"}) - {
    UPGRADE_FAILED,
    "ModifyFailed",
    "Modifying",
}
"""In creation, in an upgrade, in deletion, or frozen: the engine's next version is not known, or
there is no engine."""


@dataclass(frozen=True, slots=True)
class Target:
    """The values that all manifests of one run share."""

    region: str
    project_id: str
    credentials: str
    enterprise_project_id: str | None = None
    namespace: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    suspend: bool = False


def reason_to_leave_out(engine: EngineView, types: Iterable[str]) -> str | None:
    """Return why an engine gets no manifest; None if it gets one."""
    kind = engine.type.upper()
    if kind not in TYPES:
        return f"its type {engine.type or '(none)'} is not known"
    if kind not in types:
        return f"its type {engine.type} was not asked for"
    if engine.status in _LEFT_OUT:
        return f"it is {engine.status}"
    return None


def name_of(engine: EngineView, taken: set[str]) -> str:
    """Return the name of an engine's resource: the engine's name as a DNS-1123 label.

    If the name is taken or empty, digits of the engine's id are added. The result is the same in
    every run with the same names in `taken`.
    """
    return next(name for name in _names(engine) if name and name not in taken)


def _names(engine: EngineView) -> Iterator[str]:
    """Yield names for an engine's resource without end, the best ones first."""
    plain = _label(engine.name)
    yield plain
    digits = re.sub(r"[^a-z0-9]+", "", engine.engine_id.lower())
    for length in (ID_DIGITS, NAME_LIMIT):
        tail = digits[:length]
        head = plain[: max(0, NAME_LIMIT - len(tail) - 1)].strip("-") or "engine"
        yield f"{head}-{tail}"[:NAME_LIMIT].strip("-")
    yield _label(engine.engine_id)
    for number in count(2):
        yield f"{digits[: NAME_LIMIT - len(str(number)) - 1] or 'engine'}-{number}"


def _label(text: str) -> str:
    """Return a text as a DNS-1123 label; empty if nothing of it is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_LIMIT].strip("-")


def manifest_of(engine: EngineView, name: str, target: Target) -> str:
    """Return the manifest of an engine at the version that it has.

    Raises:
        ValueError: A value from the vendor does not fit the resource; the text names the field.
    """
    spec: dict[str, object] = {"region": target.region, "projectId": target.project_id}
    if target.enterprise_project_id:
        spec["enterpriseProjectId"] = target.enterprise_project_id
    spec |= {"engineId": engine.engine_id, "version": engine.version}
    spec["credentialsRef"] = {"name": target.credentials}
    if target.suspend:
        spec["suspend"] = True
    try:
        Spec.model_validate(spec)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
    metadata: dict[str, object] = {"name": name}
    if target.namespace:
        metadata["namespace"] = target.namespace
    if target.labels:
        metadata["labels"] = dict(target.labels)
    what = f"{engine.type} engine {json.dumps(engine.name)}, id {json.dumps(engine.engine_id)}"
    head = [f"# {what}", f"apiVersion: {API_VERSION}", f"kind: {KIND}"]
    return "\n".join([*head, *_block("metadata", metadata), *_block("spec", spec)]) + "\n"


def _block(key: str, content: Mapping[str, object], indent: str = "") -> list[str]:
    """Return a mapping as YAML, with texts quoted: a name of the vendor may look like a number."""
    lines = [f"{indent}{key}:"]
    for name, value in content.items():
        if isinstance(value, dict):
            lines += _block(_key(name), value, f"{indent}  ")
        else:
            lines.append(f"{indent}  {_key(name)}: {json.dumps(value)}")
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z]+", name) else json.dumps(name)
