"""Reads single values of the vendor's JSON, liberally: an unusable value becomes empty or `None`.

Numbers may come as strings, strings as numbers, and lists may be null, because the vendor's
documents contradict each other and their own examples.
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
"""Characters of a type, state, version or action. The vendor documents 13, and 24 for versions."""
_MOST_VALUES = 300_000
"""Values in one answer: a page of 1,000 engines has 80,000. Each value costs up to 200 bytes of
memory, even if it has only two bytes on the wire (`[]`)."""
_LARGEST_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_TIME_MS = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() * 1000)


class WireError(ValueError):
    """An answer cannot be read. The message says what is wrong and never quotes the answer."""


def document_of(body: bytes) -> dict[str, Any]:
    """Parse an answer as a JSON object.

    Raises:
        WireError: The answer is not a JSON object, or has more values than may be held in memory.
    """
    # Count before parsing, which includes characters in texts: each value needs one of these.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MOST_VALUES:
        raise WireError(f"the answer has more than {_MOST_VALUES} values")
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        # The parser's own message quotes the answer.
        raise WireError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise WireError("the answer is not a JSON object")
    return document


def items(value: Any) -> list[Any]:
    """Return a list's items; empty if the value is not a list."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a text without surrounding white space; empty if the value is not a text."""
    return value.strip() if isinstance(value, str) else ""


def term(value: Any, redact: Redactor) -> str:
    """Return a redacted type, state, version or action: a word that thousands of engines share."""
    return redact.term(raw(value), _LONGEST_TERM)


def word(value: Any) -> str:
    """Return a short word to compare, not to show: an id, or the state of a step."""
    return clean(raw(value), LONGEST_WORD)


def raw(value: Any) -> str:
    """Return a text or a number as text; empty for any other value."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def integer(value: Any) -> int | None:
    """Return a whole number of at most 64 bits, given as a number or as text; else `None`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if _INTEGER.fullmatch(value.strip()) else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= _LARGEST_INTEGER else None


def positive(value: Any) -> int | None:
    """Return a number above 0, such as a job's; else `None`: 0 and below stand for "none"."""
    number = integer(value)
    return number if number is not None and number > 0 else None


def moment(value: Any) -> datetime | None:
    """Return a time given in epoch milliseconds; `None` for 0, negative and absurd values."""
    milliseconds = positive(value)
    if milliseconds is None or milliseconds >= _LATEST_TIME_MS:
        return None
    return _EPOCH + timedelta(milliseconds=milliseconds)
