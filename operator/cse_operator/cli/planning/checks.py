"""Finds what the API server would refuse in a manifest, as far as is known without it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cse_operator.api import crd
from cse_operator.api.advice import ADVICE
from cse_operator.api.names import API_VERSION
from cse_operator.api.spec import Spec
from cse_operator.cli.manifests import Manifest

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_TOP: Final = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def refusal_of_frame(manifest: Manifest) -> str | None:
    """Return why the API server would refuse a manifest for its fields beside the spec, or None."""
    if manifest.content.get("apiVersion") != API_VERSION:
        return f"apiVersion has to be {API_VERSION}"
    if not _NAME.fullmatch(manifest.name):
        return f"metadata.name {manifest.name!r} is not a valid name of an object"
    unknown = sorted(manifest.content.keys() - _TOP)
    return f"there is no field {unknown[0]}" if unknown else None


def refusal(manifest: Manifest, before: Mapping[str, Any] | None) -> str | None:
    """Return why the API server would refuse a manifest; None if it accepts it.

    Args:
        manifest: The manifest to apply.
        before: The spec in the cluster, else in the base revision; None if neither has one.
    """
    why = refusal_of_frame(manifest)
    if why is not None:
        return why
    unknown = next(_unknown_fields(manifest.spec, _schema(), "spec"), None)
    if unknown is not None:
        return f"there is no field {unknown}"
    try:
        Spec.model_validate(manifest.spec, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        quote = ": quote it" if first["type"] == "string_type" else ""
        return f"{place_of(first)}: {told_by(first)}{quote}"
    for field in crd.IMMUTABLE_FIELDS:
        if before is not None and before.get(field) != manifest.spec.get(field):
            return f"spec.{field} is immutable: to manage another engine, create another resource"
    return None


def place_of(error: ErrorDetails) -> str:
    """Return the field of an error, as in `spec.upgrade.timeout`."""
    return ".".join(str(part) for part in ("spec", *error["loc"]))


def told_by(error: ErrorDetails) -> str:
    """Return what is wrong with a field, in the API server's words if its pattern has some."""
    advice = ADVICE.get(error.get("ctx", {}).get("pattern", ""))
    return advice or error["msg"].removeprefix("Value error, ")


@cache
def _schema() -> dict[str, Any]:
    whole = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = whole["properties"]["spec"]
    return found


def _unknown_fields(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    known = schema.get("properties")
    if not isinstance(value, Mapping) or known is None:
        return
    for name, item in value.items():
        if name in known:
            yield from _unknown_fields(item, known[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}"
