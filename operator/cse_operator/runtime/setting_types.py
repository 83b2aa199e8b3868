"""The types that several kinds of settings share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    """Accept `a,b` as well as repeated flags, and a list from code."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return tuple(p for item in value for p in str(item).replace(" ", "").split(",") if p)
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
