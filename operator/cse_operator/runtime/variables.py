"""Environment variables: names that look like ours and are no settings must be reported.

Pydantic reads the variables that it knows and ignores all others. A misspelt `ALLOWED_REGIONS`
would then allow every region, and a misspelt `LEADER_ELECT` make two leaders. Values are never
repeated, because one of them may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

from cse_operator.runtime.settings import Settings

PREFIX: Final = str(Settings.model_config.get("env_prefix"))

REMOVED: Final[Mapping[str, str]] = {"UNKNOWN_OUTCOME_GRACE": "OUTCOME_GRACE"}
"""The names of former settings, each with its present name."""

_PROXIES: Final = frozenset({"HTTPS_PROXY", "ALL_PROXY"})

NEAR: Final = 0.8
"""How alike two names must be, of 1, for one to count as a misspelling of the other."""
NEAR_WITH_PREFIX: Final = 0.93
"""The same for names with the prefix, which is the same in all of them."""
TELLING: Final = 5
"""Letters of a word that identifies a setting although other words are missing."""
MOST: Final = 3
"""The most settings that one sentence offers."""

_NAMES: Final = tuple(name.upper() for name in Settings.model_fields)

_LINK_NAME: Final = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)",
    re.ASCII,
)
_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://", re.ASCII)


def misspelt(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each variable that can only be a mistake, which prevents the start."""
    return tuple(
        f"{_shown(name)} is not a setting: write "
        + " or ".join(PREFIX + setting for setting in meant)
        for name, meant in _unknown(environment)
        if meant
    )


def unused(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each other variable that has our prefix and is no setting."""
    return tuple(
        f"{_shown(name)} is not a setting and has no effect: cse-operator run --help lists them"
        for name, meant in _unknown(environment)
        if not meant
    )


def ignored_proxies(environment: Mapping[str, str], settings: Settings) -> tuple[str, ...]:
    """Return a sentence if the environment names a proxy, as on OpenShift, and no setting does."""
    named = sorted({name for name in environment if name.upper() in _PROXIES and environment[name]})
    if not named or settings.https_proxy is not None:
        return ()
    sentence = (
        f"{', '.join(named)} is ignored: the vendor is reached without a proxy; set "
        f"{PREFIX}HTTPS_PROXY (and {PREFIX}NO_PROXY) to use one"
    )
    return (sentence,)


def _unknown(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the variables that look like ours and are no settings, each with likely settings."""
    for name, value in sorted(environment.items()):
        upper = name.upper()
        rest = upper.removeprefix(PREFIX)
        if rest == upper:
            meant = _nearest({PREFIX + known: known for known in _NAMES}, upper, NEAR_WITH_PREFIX)
            if meant:
                yield name, meant
        elif rest not in _NAMES and not _is_service_link(rest, value):
            yield name, _meant(rest)


def _is_service_link(rest: str, value: str) -> bool:
    """Whether Kubernetes makes such a variable for a Service whose name begins like ours."""
    if _LINK_NAME.fullmatch(rest):
        return True
    return (rest == "PORT" or rest.endswith("_PORT")) and _LINK_URL.match(value) is not None


def _meant(rest: str) -> tuple[str, ...]:
    """Return the settings that a name may stand for, the likeliest first."""
    if rest in REMOVED:
        return (REMOVED[rest],)
    near = _nearest({known: known for known in _NAMES}, rest, NEAR)
    if near:
        return near
    words = _words(rest)
    telling = any(len(word) >= TELLING for word in words)
    return tuple(
        known
        for known in _NAMES
        if _words(known) <= words or (telling and words and words <= _words(known))
    )[:MOST]


def _nearest(known: Mapping[str, str], name: str, near: float) -> tuple[str, ...]:
    """Return the setting that is most like a name, if one is similar enough."""
    likeness = {}
    for form, setting in known.items():
        matcher = SequenceMatcher(None, name, form, autojunk=False)
        # Both are quick upper bounds of `ratio`.
        if matcher.real_quick_ratio() >= near and matcher.quick_ratio() >= near:
            likeness[setting] = matcher.ratio()
    best = max(likeness, key=likeness.__getitem__, default=None)
    return (best,) if best is not None and likeness[best] >= near else ()


def _words(name: str) -> frozenset[str]:
    return frozenset(word.rstrip("S") for word in name.split("_") if word)


def _shown(name: str) -> str:
    """Return a name in printable form: the log's reader may not have set it."""
    return name if re.fullmatch(r"[!-~]+", name) else ascii(name)
