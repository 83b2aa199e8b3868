"""Reads single values of the vendor's JSON, liberally: what cannot be one is empty or `None`.

Numbers may come as strings and strings as numbers, and lists may be null, because the vendor's
documents contradict each other and its own examples.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from cse_operator.cloud.redaction import Redactor, clean

LONGEST_WORD = 128
"""Characters of a name."""
_LONGEST_TERM = 32
"""Characters of a type, state, version or action: documented are 13, of versions 24."""
_MOST_VALUES = 300_000
"""Values in one answer: a page of 1,000 engines has 80,000. Each costs up to 200 bytes of memory
however few it has on the wire, such as the two of `[]`."""
_LARGEST_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_TIME_MS = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() * 1000)


class WireError(ValueError):
    """An answer that cannot be read. The text says what is wrong with it, never what it held."""


def document_of(body: bytes) -> dict[str, Any]:
    """The JSON object that an answer is.

    Raises:
        WireError: It is none, or has more values than are held in memory.
    """
    # Counted without reading, and so with those in texts: no value is there without one of these.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MOST_VALUES:
        raise WireError(f"the answer has more than {_MOST_VALUES} values")
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        # The parser's own words quote what it read.
        raise WireError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise WireError("the answer is not a JSON object")
    return document


def items(value: Any) -> list[Any]:
    """A list's items; none where it is no list."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text without the white space around it; empty where it is none."""
    return value.strip() if isinstance(value, str) else ""


def term(value: Any, redact: Redactor) -> str:
    """A word of which thousands of engines share a few: a type, a state, a version, an action."""
    return redact.term(raw(value), _LONGEST_TERM)


def word(value: Any) -> str:
    """A short word to compare with, not to show: an id, or the state of a step."""
    return clean(raw(value), LONGEST_WORD)


def raw(value: Any) -> str:
    """What the vendor says, as text: numbers become it, what is neither is empty."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def integer(value: Any) -> int | None:
    """A whole number of at most 64 bits, in whichever form."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if _INTEGER.fullmatch(value.strip()) else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= _LARGEST_INTEGER else None


def positive(value: Any) -> int | None:
    """A job's number; 0 and below stand for "none"."""
    number = integer(value)
    return number if number is not None and number > 0 else None


def moment(value: Any) -> datetime | None:
    """A moment given in epoch milliseconds; 0, negative and absurd ones mean "not yet"."""
    milliseconds = positive(value)
    if milliseconds is None or milliseconds >= _LATEST_TIME_MS:
        return None
    return _EPOCH + timedelta(milliseconds=milliseconds)
