"""`kubectl cse doctor`: checks cluster, definition, rights and engines with the person's login."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cse_operator.api.names import GROUP, KIND
from cse_operator.kubectl.call import RESOURCE, Kubectl, KubectlError
from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.output import Output, wrapped

OK, NOTE, PROBLEM = "ok", "note", "PROBLEM"
UNSEEN_AFTER: Final = timedelta(minutes=2)
"""How long a change may be unseen by any operator before it is a problem."""
_MARK: Final = 9
_COLOURS: Final = {OK: "32", NOTE: "33", PROBLEM: "31"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    subject: str
    mark: str
    sentence: str
    way_out: str = ""


def doctor(kubectl: Kubectl, output: Output) -> int:
    """Run all checks, show the findings, and return the exit code."""
    findings = list(_findings(kubectl))
    lines = []
    for found in findings:
        mark = output.paint(f"{found.mark:<{_MARK}}", _COLOURS[found.mark])
        text = f"{found.subject}: {found.sentence}"
        lines.append(f"{mark}{wrapped(text, output.width, ' ' * _MARK)}")
        if found.way_out:
            way = wrapped(f"→ {found.way_out}", output.width, " " * (_MARK + 2))
            lines.append(f"{'':{_MARK}}{way}")
    content = [
        {"name": f.subject, "mark": f.mark, "sentence": f.sentence, "wayOut": f.way_out}
        for f in findings
    ]
    output.show(content, "\n".join(lines))
    return 1 if any(found.mark == PROBLEM for found in findings) else 0


def _findings(kubectl: Kubectl) -> Iterator[Finding]:
    cluster = _tried("cluster", lambda: _cluster(kubectl), "Compare `kubectl version`.")
    yield cluster
    if cluster.mark == PROBLEM:
        return
    definition = _tried(
        "definition", lambda: _definition(kubectl), "Ask the cluster's administrator."
    )
    yield definition
    if definition.mark == PROBLEM:
        return
    for verb, why in (("list", "to see engines"), ("patch", "to suspend, retry and approve")):
        yield _right(kubectl, verb, why)
    yield from _engines(kubectl)


def _tried(subject: str, look: Callable[[], Finding], way_out: str) -> Finding:
    try:
        return look()
    except (KubectlError, ValueError, KeyError) as error:
        return Finding(subject, PROBLEM, str(error), way_out)


def _cluster(kubectl: Kubectl) -> Finding:
    version = kubectl.json("version")["serverVersion"]["gitVersion"]
    return Finding("cluster", OK, f"Kubernetes {version} answers")


def _definition(kubectl: Kubectl) -> Finding:
    document = json.loads(kubectl.run("get", "--raw", f"/apis/{GROUP}"))
    version = document["preferredVersion"]["version"]
    return Finding("definition", OK, f"{KIND} ({GROUP}/{version}) is installed")


def _right(kubectl: Kubectl, verb: str, why: str) -> Finding:
    subject = f"right to {verb}"
    try:
        kubectl.run("auth", "can-i", verb, RESOURCE)
    except KubectlError as error:
        if error.answer != "no":
            return Finding(subject, NOTE, f"it could not be checked: {error}")
        mark = PROBLEM if verb == "list" else NOTE
        way_out = "Ask for the role cse-engines-edit, or cse-engines-view to look."
        return Finding(subject, mark, f"you may not {verb} {RESOURCE}, {why}", way_out)
    return Finding(subject, OK, f"you may {verb} {RESOURCE}, {why}")


def _engines(kubectl: Kubectl) -> Iterator[Finding]:
    try:
        engines = [Engine(raw) for raw in kubectl.engines(with_managers=True)]
    except KubectlError as error:
        yield Finding("engines", PROBLEM, str(error), "Name a namespace that you may read: -n.")
        return
    yield Finding("engines", OK, f"there are {len(engines)} here")
    unseen = [one for one in engines if one.state is State.UNSEEN and _is_old(one)]
    if unseen:
        yield Finding(
            "operator",
            PROBLEM,
            f"no operator has looked at {_names(unseen)}",
            "Check that one runs and serves this namespace: "
            "kubectl get deployments -A -l app.kubernetes.io/name=cse-operator",
        )
    elif engines:
        yield Finding("operator", OK, "an operator looks at them")
    stalled = [one for one in engines if one.state is State.BAD]
    if stalled:
        way_out = f"kubectl cse status {stalled[0].name} -n {stalled[0].namespace}"
        yield Finding("upgrades", PROBLEM, f"a person is needed for {_names(stalled)}", way_out)


def _is_old(one: Engine) -> bool:
    """Whether the last change of a resource is so old that an operator should have seen it."""
    changes = [
        entry.get("time")
        for entry in one.raw["metadata"].get("managedFields") or ()
        if entry.get("subresource") != "status"
    ]
    last = max(filter(None, changes), default=one.raw["metadata"]["creationTimestamp"])
    moment = datetime.fromisoformat(str(last))
    return datetime.now(UTC) - moment > UNSEEN_AFTER


def _names(engines: list[Engine]) -> str:
    few = 3
    listed = ", ".join(one.name for one in engines[:few])
    return listed + (f" and {len(engines) - few} more" if len(engines) > few else "")
