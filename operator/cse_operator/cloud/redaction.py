"""Makes a foreign text fit to be shown: short, printable, and without anything secret.

The vendor's error bodies, a proxy's page and an exception's text all pass through here before
they reach a status, an Event or a log. Redaction prefers losing a harmless long word to
letting one token through.
"""

from __future__ import annotations

import json
import re
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
"""Known secrets shorter than this are not searched for: they would blank ordinary words."""

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
            r"(?:\"[^\"]*\"?|'[^']*'?|(?:bearer|basic|sdk-hmac-sha256)\s+\S+|[^\s,;&\"'}\]]+)"
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


def clean(text: str, limit: int = MAX_SHOWN) -> str:
    """Make a text printable, on one line, and at most `limit` characters long.

    Control characters, lone surrogates, bidirectional overrides and other invisible ones are
    dropped; white space of any kind becomes one space.
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text.strip()
    text = text[:_MAX_EXAMINED]
    shown = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1].rstrip()}…"


def redact(text: str, secrets: Iterable[SecretStr] = (), limit: int = MAX_SHOWN) -> str:
    """Clean a text and take out what is, or looks like, a secret.

    Args:
        text: What somebody else said.
        secrets: Values that must not be shown however they look, such as a short password.
        limit: The longest answer, in characters.
    """
    for secret in secrets:
        for spelling in _spellings(secret.get_secret_value()):
            text = text.replace(spelling, _REDACTED)
    if len(text) > _MAX_EXAMINED:
        # A word cut in two may be a secret that no longer looks like one.
        text = " ".join(text[:_MAX_EXAMINED].split()[:-1])
    text = clean(text, _MAX_EXAMINED)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return clean(text, limit)


def _spellings(value: str) -> list[str]:
    """A secret as it may be echoed: as it is, inside JSON, inside a URL; the longest first."""
    if len(value) < _MIN_LITERAL:
        return []
    forms = {value, json.dumps(value)[1:-1], quote(value, safe="")}
    return sorted(forms, key=len, reverse=True)
