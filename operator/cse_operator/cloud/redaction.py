"""Makes a foreign text safe to show: short, printable, and without secrets.

The vendor's error bodies, a proxy's page and an exception's text all pass through here before
they reach a status, an Event or a log. Redaction prefers losing a harmless long word to
letting one token through.
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

MAX_SHOWN = 512
"""The longest text that is shown, in characters."""

_REDACTED = "[redacted]"
_MAX_EXAMINED = 8 * MAX_SHOWN
_MIN_LITERAL = 4
"""Known secrets shorter than this are not searched for: that would redact ordinary words."""

_MOST_TERMS = 256
"""The most words that a redactor remembers, so that invented words do not fill the memory."""

_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Invisible letters and marks (Unicode, Default_Ignorable_Code_Point); all other invisible
characters are in the category C."""

_KEYS_OF_SECRETS = (
    r"x-auth-token|x-subject-token|x-security-token|security-?_?token|(?:access|auth)?_?token"
    r"|proxy-authorization|authorization|set-cookie|cookie|signature|credentials?"
    r"|access-?_?key(?:-?_?id)?|secret-?_?(?:access-?_?)?key|secret|api-?_?key|ak|sk"
    r"|access|password|passwd|pwd|passphrase"
)
_PATTERNS = (
    # name: value, name=value, "name": "value"; the value ends at a quote, a comma or a space.
    (
        re.compile(
            rf"(?i)(?<![a-z0-9])({_KEYS_OF_SECRETS})([\"']?\s{{0,4}}[:=]\s{{0,4}})"
            r"(?:\[redacted\]|\"[^\"]*\"?|'[^']*'?|(?:bearer|basic|sdk-hmac-sha256)\s+\S+|[^\s,;&\"'}\]]+)"
        ),
        rf"\1\2{_REDACTED}",
    ),
    # user:password@ in a URL.
    (re.compile(r"(?i)(://)[^\s/@]{1,256}@"), rf"\1{_REDACTED}@"),
    # Tokens by their looks: IAM tokens (PKCS#7, "MII…"), JSON web tokens, access key ids.
    (re.compile(r"\bMII[A-Za-z0-9+/_=-]{13,}"), _REDACTED),
    (re.compile(r"\beyJ[A-Za-z0-9._=-]{13,}"), _REDACTED),
    (re.compile(r"\b(?=[A-Z]*[0-9])(?=[0-9]*[A-Z])[A-Z0-9]{20}\b"), _REDACTED),
    # Any long run of base64 or hexadecimal characters: secret keys, signatures, digests.
    (re.compile(r"[A-Za-z0-9+/=_-]{40,}"), _REDACTED),
)


_HARMLESS = re.compile(r"(?!.*(?:MII|eyJ))[\w .-]{0,19}", re.ASCII)
"""Too short and too plain for any of these patterns: nearly all words in the vendor's answers."""


def clean(text: str, limit: int = MAX_SHOWN) -> str:
    """Make a text printable, on one line, and at most `limit` characters long.

    Control characters, lone surrogates, bidirectional overrides and other invisible characters are
    dropped; white space of any kind becomes ordinary spaces.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text.strip()
    shown = _visible(text[:_MAX_EXAMINED])
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}…"


def redact(text: str, secrets: Iterable[SecretStr] = (), limit: int = MAX_SHOWN) -> str:
    """Clean a text and redact known secrets and whatever looks like a secret.

    Args:
        text: The foreign text.
        secrets: Values to redact whatever they look like, such as a short password.
        limit: The most characters to return.
    """
    return Redactor(secrets)(text, limit)


class Redactor:
    """Redacts many texts with the same secrets, prepared once."""

    def __init__(self, secrets: Iterable[SecretStr] = ()) -> None:
        values = [secret.get_secret_value() for secret in secrets]
        self._as_said = [spelling for value in values for spelling in _spellings(value)]
        visible = [_visible(spelling) for spelling in self._as_said]
        self._as_seen = [spelling for spelling in visible if len(spelling) >= _MIN_LITERAL]
        self._terms: dict[tuple[str, int], str] = {}

    def term(self, text: str, limit: int) -> str:
        """Redact a word that occurs often, and remember the result; same result as `__call__`."""
        known = self._terms.get((text, limit))
        if known is None:
            known = sys.intern(self(text, limit))
            if len(text) <= limit and len(self._terms) < _MOST_TERMS:
                self._terms[text, limit] = known
        return known

    def __call__(self, text: str, limit: int = MAX_SHOWN) -> str:
        """Clean a text and redact known secrets and whatever looks like a secret."""
        text = _without(text, self._as_said)
        if len(text) <= limit and _HARMLESS.fullmatch(text):
            return text.strip()
        if not (text.isascii() and text.isprintable()):
            # A secret may be interspersed with invisible characters: drop them, then search again.
            text = _without(_visible(text), self._as_seen)
        if len(text) > _MAX_EXAMINED:
            # Drop the last word: cut in two, a secret may no longer look like one.
            text = " ".join(text[:_MAX_EXAMINED].split()[:-1])
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return clean(text, limit)


def _without(text: str, spellings: list[str]) -> str:
    for spelling in spellings:
        text = text.replace(spelling, _REDACTED)
    return text


def _visible(text: str) -> str:
    table = {
        ord(character): " " if character.isspace() else None
        for character in set(text)
        if character.isspace() or unicodedata.category(character)[0] == "C"
    }
    return " ".join(_IGNORABLE.sub("", text.translate(table)).split())


def _spellings(value: str) -> list[str]:
    """Return the forms in which a secret may be echoed: plain, in JSON, in a URL; longest first."""
    if len(value) < _MIN_LITERAL:
        return []
    forms = {value, json.dumps(value)[1:-1], quote(value, safe="")}
    return sorted(forms, key=len, reverse=True)
