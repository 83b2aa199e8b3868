"""The commands that change resources: by a field of the spec, or an annotation for the operator."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cse_operator.api.names import (
    APPROVED_VERSION,
    GROUP,
    RECONCILE_REQUESTED_AT,
    RETRY_REQUESTED_AT,
)
from cse_operator.kubectl.call import Kubectl
from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.managers import is_applied, manager_of, states
from cse_operator.kubectl.output import Output, say

DONE: Final = 0
FAILED: Final = 1
REFUSED: Final = 3
"""There is nothing to do, or the change is refused."""

APPROVED_BY: Final = f"{GROUP}/approved-by"
"""Annotation: the name that the API server gives the user who approved."""

_OUR_MANAGER: Final = "kubectl-cse"
_KEPT_BY_FLUX: Final = "flux-client-side-apply"
"""The field manager whose annotations Flux keeps (Flux FAQ)."""


@dataclass(frozen=True, slots=True)
class Session:
    """The tools and flags of a verb."""

    kubectl: Kubectl
    output: Output
    force_local: bool = False
    """Whether to change the resource even if Git states something else."""
    agreed: bool = False
    """Whether the person has agreed to a change that cannot be undone."""


class RefusedError(Exception):
    """The change is refused; the text says why, and what to do instead."""


def each(
    session: Session, names: Sequence[str], verb: str, change: Callable[[Engine], Engine | str]
) -> int:
    """Make a change to each of several resources, and show the results.

    Args:
        session: The tools and flags.
        names: The resources.
        verb: The change, in the past tense.
        change: Makes the change; returns the changed resource, or why there is nothing to do.
    """
    code, shown, lines = DONE, [], []
    for raw in session.kubectl.engines(names, with_managers=True):
        engine = Engine(raw)
        try:
            found = change(engine)
        except RefusedError as error:
            say(f"{engine.name}: {error}")
            code = REFUSED
            continue
        changed = isinstance(found, Engine)
        after = found if isinstance(found, Engine) else engine
        said = verb if isinstance(found, Engine) else str(found)
        shown.append({**after.summary(), "verb": verb, "changed": changed})
        lines.append(f"{engine.name}: {said}")
        code = code if changed else REFUSED
    session.output.show(shown, "\n".join(lines))
    return code


def upgrade(session: Session, name: str, version: str) -> int:
    """Set another version, unless Git manages the resource or the engine is beyond the version."""

    def change(engine: Engine) -> Engine | str:
        if engine.desired == version:
            return f"nothing to do, {version} is its version already"
        if _is_behind(version, engine.current):
            raise RefusedError(
                f"the engine is at {engine.current}, and an engine cannot go back to {version}"
            )
        _stop_for_git(session, engine, f"change spec.version to {version} in Git instead")
        latest = engine.status.get("latestVersion")
        if latest and latest != version:
            say(f"{name}: the vendor offers {latest}, and may refuse {version}")
        _agree(session, f"{name}: {engine.current or '?'} → {version} cannot be rolled back")
        return _patched(session, engine, {"spec": {"version": version}})

    return each(session, [name], f"wants {version}", change)


def suspend(session: Session, names: Sequence[str], *, wanted: bool) -> int:
    """Set `spec.suspend` to `wanted`."""
    verb = "suspended" if wanted else "resumed"

    def change(engine: Engine) -> Engine | str:
        if bool(engine.spec.get("suspend")) is wanted:
            return f"nothing to do, it is {verb} already"
        manager = manager_of(engine.raw)
        if states(engine.raw, "suspend"):
            word = str(wanted).lower()
            _stop_for_git(session, engine, f"Git states spec.suspend: set it to {word} there")
        elif manager is not None:
            say(
                f"{engine.name}: {manager.sentence()}, which does not state spec.suspend, "
                "so this stays"
            )
        merge = {"spec": {"suspend": wanted}}
        return Engine(session.kubectl.patch(engine.name, merge, manager=_OUR_MANAGER))

    return each(session, names, verb, change)


def retry(session: Session, names: Sequence[str]) -> int:
    """Unlock a failed, refused or uncertain upgrade once."""

    def change(engine: Engine) -> Engine | str:
        if engine.state is State.GOOD:
            return f"nothing to retry, {engine.message}"
        return _annotated(session, engine, {RETRY_REQUESTED_AT: _now()})

    return each(session, names, "asked for a retry", change)


def refresh(session: Session, names: Sequence[str]) -> int:
    """Have the operator look at the engine now."""

    def change(engine: Engine) -> Engine | str:
        return _annotated(session, engine, {RECONCILE_REQUESTED_AT: _now()})

    return each(session, names, "asked for a look", change)


def approve(session: Session, name: str, version: str | None) -> int:
    """Approve the desired version of a resource, and no other."""
    user = session.kubectl.json("auth", "whoami")["status"]["userInfo"]["username"]

    def change(engine: Engine) -> Engine | str:
        if version not in {None, engine.desired}:
            raise RefusedError(f"its desired version is {engine.desired}, not {version}")
        annotations = engine.raw["metadata"].get("annotations") or {}
        if annotations.get(APPROVED_VERSION) == engine.desired:
            return f"nothing to do, {engine.desired} is approved already"
        approval = {APPROVED_VERSION: engine.desired, APPROVED_BY: str(user)}
        return _annotated(session, engine, approval, locked=True)

    return each(session, [name], f"approved by {user}", change)


def _annotated(
    session: Session, engine: Engine, annotations: Mapping[str, str], *, locked: bool = False
) -> Engine:
    """Set annotations and return the resource; `locked` requires that it is as it was read."""
    metadata: dict[str, Any] = {"annotations": dict(annotations)}
    if locked:
        metadata["resourceVersion"] = engine.raw["metadata"]["resourceVersion"]
    change = {"metadata": metadata}
    return Engine(session.kubectl.patch(engine.name, change, manager=_KEPT_BY_FLUX))


def _patched(session: Session, engine: Engine, change: dict[str, Any]) -> Engine:
    """Make a change and return the resource, provided that it is as it was read."""
    version = engine.raw["metadata"]["resourceVersion"]
    locked = {**change, "metadata": {"resourceVersion": version}}
    return Engine(session.kubectl.patch(engine.name, locked, manager=_OUR_MANAGER))


def _stop_for_git(session: Session, engine: Engine, instead: str) -> None:
    manager = manager_of(engine.raw)
    if manager is None:
        if is_applied(engine.raw):
            say(f"{engine.name}: the next apply of its manifest may revert this")
        return
    if not session.force_local:
        raise RefusedError(
            f"{manager.sentence()}: {instead} (--force-local changes it here anyway)"
        )
    say(f"{engine.name}: {manager.sentence()}, which may revert this")


def _agree(session: Session, sentence: str) -> None:
    if session.agreed:
        return
    if not sys.stdin.isatty():
        raise RefusedError(f"{sentence.partition(': ')[2]}; say --yes if you mean it")
    sys.stderr.write(f"{sentence}. Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RefusedError("nothing was changed")


def _is_behind(version: str, current: str | None) -> bool:
    """Whether a version is provably below the engine's; their last parts are not compared."""
    wanted, have = _numbers(version), _numbers(current or "")
    if wanted is None or have is None:
        return False
    length = max(len(wanted), 3)
    return (wanted + (0,) * length)[: length - 1] < (have + (0,) * length)[: length - 1]


def _numbers(version: str) -> tuple[int, ...] | None:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})*", version, re.ASCII):
        return None
    return tuple(int(part) for part in version.split("."))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
