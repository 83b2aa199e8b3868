"""The names of our environment variables: one that means nothing must not be passed over silently.

Pydantic reads the variables that it knows and none beside them. A misspelt `ALLOWED_REGIONS` would
so allow every region, and a misspelt `LEADER_ELECT` make two leaders. Values are never repeated:
one of them may be a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Final

from cse_operator.runtime.settings import Settings

PREFIX: Final = str(Settings.model_config.get("env_prefix"))

REMOVED: Final[Mapping[str, str]] = {"UNKNOWN_OUTCOME_GRACE": "OUTCOME_GRACE"}
"""Names that were settings once, and the one that says the same now."""

_PROXIES: Final = frozenset({"HTTPS_PROXY", "ALL_PROXY"})

NEAR: Final = 0.8
"""How alike two names are, of 1, when one of them is taken for a slip of the other."""
NEAR_WITH_PREFIX: Final = 0.93
"""The same for names with the prefix, which is alike in all of them."""
TELLING: Final = 5
"""Letters of a word that says which setting is meant although other words are missing."""
MOST: Final = 3
"""Settings that one sentence offers."""

_NAMES: Final = tuple(name.upper() for name in Settings.model_fields)

_LINK_NAME: Final = re.compile(
    r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)",
    re.ASCII,
)
_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://", re.ASCII)


def misspelt(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each variable that can only be a mistake: with it, nothing is started."""
    return tuple(
        f"{_shown(name)} is not a setting: write "
        + " or ".join(PREFIX + setting for setting in meant)
        for name, meant in _unknown(environment)
        if meant
    )


def unused(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each other variable that has our prefix and is no setting."""
    return tuple(
        f"{_shown(name)} is not a setting and has no effect: cse-operator run --help lists them"
        for name, meant in _unknown(environment)
        if not meant
    )


def unheeded_proxies(environment: Mapping[str, str], settings: Settings) -> tuple[str, ...]:
    """A sentence where the environment names a proxy, as OpenShift does, and the settings none."""
    named = sorted({name for name in environment if name.upper() in _PROXIES and environment[name]})
    if not named or settings.https_proxy is not None:
        return ()
    sentence = (
        f"{', '.join(named)} is not heeded: the vendor is reached without a proxy; "
        f"{PREFIX}HTTPS_PROXY (and {PREFIX}NO_PROXY) name one"
    )
    return (sentence,)


def _unknown(environment: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The variables that look like ours and are no settings, each with those it may mean."""
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
    """Whether Kubernetes makes such a variable of a Service whose name begins like ours."""
    if _LINK_NAME.fullmatch(rest):
        return True
    return (rest == "PORT" or rest.endswith("_PORT")) and _LINK_URL.match(value) is not None


def _meant(rest: str) -> tuple[str, ...]:
    """The settings that a name may stand for, the likeliest first."""
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
    """The one setting that is most like a name, if it is like it at all."""
    likeness = {}
    for form, setting in known.items():
        matcher = SequenceMatcher(None, name, form, autojunk=False)
        # Neither is less than `ratio`, and both are quicker.
        if matcher.real_quick_ratio() >= near and matcher.quick_ratio() >= near:
            likeness[setting] = matcher.ratio()
    best = max(likeness, key=likeness.__getitem__, default=None)
    return (best,) if best is not None and likeness[best] >= near else ()


def _words(name: str) -> frozenset[str]:
    return frozenset(word.rstrip("S") for word in name.split("_") if word)


def _shown(name: str) -> str:
    """A name as a person may read it: who sets it may be somebody else than who reads the log."""
    return name if re.fullmatch(r"[!-~]+", name) else ascii(name)
