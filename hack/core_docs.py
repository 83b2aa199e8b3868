"""Makes the pages about the resource and the decision core from their code."""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cse_operator.api import crd, names, policy_crd
from cse_operator.api.reason_facts import FACTS
from cse_operator.core.machine import TRANSITIONS, Transition
from cse_operator.core.states import Effect, Requeue, Situation, State

ROOT: Final = Path(__file__).resolve().parents[1]

_STATES_HEAD: Final = """\
<!-- Generated from operator/cse_operator/core/machine.py by `make generate`. -->
# States of an upgrade

A resource is in one of four states. The operator reads the state from `status.upgrade`, so a
restarted operator goes on where the stopped one was. In each state, the operator classifies what it
observes as exactly one *situation*. The situation decides what follows: at most one effect on the
outside world, the next state, the reason in the conditions, and the time of the next step if
nothing triggers it before. Watch events, requests and the resync trigger a step at any time. A look
that fails has its own reason ([reference/reasons.md](reference/reasons.md)).
"""

_STATES_AFTER_DRAWING: Final = """\
The drawing has the situations that change the state or call the vendor to change something. The
tables have all situations. Three entries of the last two columns: *decides again* means that the
same step goes on; *on a trigger* means that no timer but the resync leads to the next step;
*as before* means that the shown reason stays.
"""

_REASONS_HEAD: Final = """\
<!-- Generated from operator/cse_operator/api/reason_facts.py by `make generate`. -->
# Reasons

The conditions of a `MicroserviceEngine` have one of these reasons. When the reason changes, the
operator records an Event with it. Beside `Ready`, the resource has `Reconciling=True` if it goes on
without a person, and `Stalled=True` if a person is needed. Times are those of the default settings.
"""

_ANNOTATIONS: Final = f"""\
## Annotations

People set these annotations, and the operator only reads them.

| annotation | request | answer |
|---|---|---|
| `{names.RECONCILE_REQUESTED_AT}` | a look at the engine now, with each new value | \
`.status.lastHandledReconcileAt` |
| `{names.APPROVED_VERSION}` | the version that may start, if a policy asks for approval | \
`.status.held` |
| `{names.RETRY_REQUESTED_AT}` | one more try after a failed or refused upgrade, with each new \
value | `.status.lastHandledRetryAt` |
"""

_STAGES: Final = {
    State.IDLE: "No upgrade is open: the operator compares the desired version with the engine's. "
    "The last upgrade, if there was one, has its result.",
    State.UNANSWERED: "An intent is recorded, and its call is on its way or its answer was lost. "
    "Looks at the engine and its jobs tell what became of the call "
    "([exactly-once.md](exactly-once.md)).",
    State.RUNNING: "The job is known, and the operator follows it to its end.",
    State.UNREADABLE: "Another build wrote the record, and this build cannot read it. It calls "
    "nothing and does not overwrite the record.",
}


def states() -> str:
    """Return `docs/states.md`: the table of states, as a drawing and as tables."""
    parts = [
        _STATES_HEAD,
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> Idle",
        *(f"    {edge}" for edge in _edges()),
        "```\n",
        _STATES_AFTER_DRAWING,
    ]
    for state, meaning in _STAGES.items():
        parts += [f"## {state}\n", f"{meaning}\n", *_rows_of(state), ""]
    return "\n".join(parts)


def _edges() -> Iterator[str]:
    for (state, situation), transition in TRANSITIONS.items():
        calls = transition.effect.is_call
        if state is not transition.to or calls:
            effect = f" / {transition.effect}" if calls else ""
            yield f"{state} --> {transition.to}: {situation}{effect}"


def _rows_of(state: State) -> Iterator[str]:
    yield "| situation | effect | next state | reason | next step |"
    yield "|---|---|---|---|---|"
    for (of, situation), transition in TRANSITIONS.items():
        if of is state:
            yield _row(situation, transition)


def _row(situation: Situation, transition: Transition) -> str:
    shows = transition.reason is not None or transition.keeps
    by_failure = transition.requeue is Requeue.BACKOFF and transition.reason is None
    goes_on = transition.requeue.value if shows or by_failure else "decides again"
    if transition.effect.is_look:
        goes_on = "decides again"
    reason = f"`{transition.reason}`" if transition.reason else ""
    if callable(transition.reason):
        reason = "the policy's"
    if transition.keeps:
        reason = "as before"
    elif by_failure:
        reason = "by the failure"
    effect = transition.effect if transition.effect is not Effect.NONE else ""
    return f"| {situation} | {effect} | {transition.to} | {reason} | {goes_on} |"


_WHY: Final = {
    Situation.OTHER_OWNER: "only the owner of the engine calls",
    Situation.NOT_LOOKED: "the operator decides on fresh looks only",
    Situation.JOB_NOT_SEEN: "the job's type and times tell whether the call started it",
    Situation.JOBS_NOT_LISTED: "the list may hold the call's job, behind a later one",
    Situation.NEW_JOB: "an upgrade job started after the baseline, or the retried job shows a new "
    "end: the operator follows it and does not call again",
    Situation.LISTED_JOB: "the list holds an upgrade job that started after the baseline",
    Situation.REACHED_TARGET: "no call is needed; a late call would show a job by now",
    Situation.OTHER_JOB: "the call's job may have run and failed: a person decides",
    Situation.UNCHANGED_IN_GRACE: "the call may still arrive, or its effect may not show yet",
    Situation.JOBS_UNREADABLE: "the list may hold the call's job: the next call waits",
    Situation.UNCHANGED_AND_WANTED: "the latest job is the one before the intent, the engine is "
    "Available and behind: a call that had arrived would show",
    Situation.RETRY_UNCHANGED: "the engine still offers Retry, and its job shows the old end",
    Situation.LOOK_TOO_OLD: "the engine may have changed since the look",
    Situation.CALL_NOT_YET: "another process may have a call on its way",
    Situation.OBSERVE_ONLY: "an administrator has forbidden all calls",
    Situation.UNCHANGED_AND_BUSY: "the vendor would refuse a call now",
    Situation.UNCHANGED_AND_UNUSABLE: "a person has to make the engine usable first",
    Situation.UNCHANGED_AND_SUSPENDED: "a person has suspended the resource",
    Situation.PERMIT_NOT_ASKED: "a policy may have closed since the last call",
    Situation.UNCHANGED_AND_HELD: "a call that had arrived would show. The resource holds no slot; "
    "its record stays, with the number of its calls",
    Situation.NO_MORE_CALLS: "a network path that loses every call needs a person",
    Situation.GIVEN_UP: "another version is desired, or no call can bring the engine to the "
    "desired one: the old call ends as Unknown",
    Situation.NEVER_SENT: "the call counts as never made",
    Situation.ENGINE_GONE: "every look of a whole grace period says that the engine was deleted",
}
"""Why each row of an intent without an answer is safe, for docs/exactly-once.md."""

_ROWS_BEGIN: Final = (
    "<!-- The rows of state Unanswered: made from the code by `make generate`. -->\n"
)
_ROWS_END: Final = "<!-- The end of the rows. -->\n"


def exactly_once() -> str:
    """Return `docs/exactly-once.md`, written by hand except for the rows of state Unanswered."""
    text = (ROOT / "docs" / "exactly-once.md").read_text(encoding="utf-8")
    before, rest = text.split(_ROWS_BEGIN)
    after = rest.split(_ROWS_END)[1]
    rows = "".join(f"{row}\n" for row in _rows_of_a_lost_answer())
    return f"{before}{_ROWS_BEGIN}{rows}{_ROWS_END}{after}"


def _rows_of_a_lost_answer() -> Iterator[str]:
    yield "| situation | what follows | why it is safe |"
    yield "|---|---|---|"
    for (state, situation), transition in TRANSITIONS.items():
        if state is State.UNANSWERED and situation not in _ANSWERS:
            yield f"| {situation} | {_follows(transition)} | {_WHY[situation]} |"


_ANSWERS: Final = {
    Situation.CALL_ACCEPTED,
    Situation.CALL_REFUSED,
    Situation.CALL_FORBIDDEN,
    Situation.CALL_UNCLEAR,
    Situation.CALL_NOT_SENT,
    Situation.CALL_HELD,
    Situation.CALL_AGAIN_HELD,
}
"""Situations in which the call was answered, so that no answer was lost."""


def _follows(transition: Transition) -> str:
    if transition.effect is not Effect.NONE:
        return str(transition.effect)
    if transition.to is not State.UNANSWERED:
        return f"goes on as {transition.to}"
    if callable(transition.reason):
        return "waits, the policy's reason"
    shown = f", `{transition.reason}`" if transition.reason else ""
    return f"waits{shown}"


def reasons() -> str:
    """Return `docs/reference/reasons.md`: each reason with its meaning, cause and way out."""
    lines = [
        _REASONS_HEAD,
        "| reason | condition | Event | meaning | cause | what to do |",
        "|---|---|---|---|---|---|",
    ]
    for reason, facts in FACTS.items():
        lines.append(
            f'| <a id="{reason.lower()}"></a>`{reason}` | {facts.condition} | {facts.event_type} '
            f"| {facts.meaning} | {facts.cause} | {facts.way_out} |"
        )
    return "\n".join(lines) + "\n"


def api() -> str:
    """Return `docs/reference/api.md`: every field of the resource."""
    version = crd.definition()["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        "<!-- Generated from the models in operator/cse_operator/api by `make generate`. -->",
        f"# {names.KIND}\n",
        f"`{names.API_VERSION}`, `kubectl get {names.SHORT_NAME}`. {schema['description']}\n",
    ]
    for part in ("spec", "status"):
        lines += _object(f".{part}", schema["properties"][part])
    lines += [
        _ANNOTATIONS,
        "## Columns of `kubectl get`\n",
        "| column | field | meaning |",
        "|---|---|---|",
    ]
    for column in version["additionalPrinterColumns"]:
        wide = " (`-o wide`)" if column.get("priority") else ""
        path = column["jsonPath"].replace("|", "\\|")
        lines.append(f"| {column['name']}{wide} | `{path}` | {column['description']} |")
    return "\n".join(lines) + "\n"


def _object(path: str, schema: dict[str, Any]) -> list[str]:
    """Return the table of an object's fields, followed by the tables of its inner objects."""
    required = schema.get("required", [])
    lines = [f"## `{path}`\n", "| field | type | | meaning |", "|---|---|---|---|"]
    inner: list[str] = []
    for name, field in schema["properties"].items():
        described = field.get("description", "")
        limits = _limits(field, required=name in required)
        lines.append(f"| `{name}` | {_type(field)} | {limits} | {described} |")
        item = field.get("items", field)
        if item.get("type") == "object" and "properties" in item:
            listed = "[]" if field["type"] == "array" else ""
            inner += _object(f"{path}.{name}{listed}", item)
    return [*lines, "", *inner]


def _type(field: dict[str, Any]) -> str:
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    return "date-time" if field.get("format") == "date-time" else str(field["type"])


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(field: dict[str, Any], *, required: bool) -> str:
    told = ["required"] if required else []
    if field.get("default") not in (None, {}, ""):
        told.append(f"default `{_default(field['default'])}`")
    if "enum" in field:
        told.append("one of " + ", ".join(f"`{value}`" for value in field["enum"]))
    if "maxLength" in field:
        told.append(f"at most {field['maxLength']} characters")
    if "minimum" in field:
        told.append(f"{field['minimum']} to {field['maximum']}")
    if "maxItems" in field and "minItems" in field:
        told.append(f"{field['minItems']} to {field['maxItems']} entries")
    if any("oldSelf" in rule["rule"] for rule in field.get("x-kubernetes-validations", [])):
        told.append("immutable")
    return "; ".join(told)


def policies() -> str:
    """Return `docs/reference/policies.md`: every field of the two kinds of policy."""
    definition = policy_crd.cluster_upgrade_policy()
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    told = (
        f"`{names.API_VERSION}`, `kubectl get upol,cupol`. {schema['description']} "
        f"An {names.POLICY_KIND} has the same fields except `namespaceSelector`, and is of one "
        "namespace. [docs/policies](../policies/README.md) has examples.\n"
    )
    lines = [
        "<!-- Generated from the models in operator/cse_operator/api by `make generate`. -->",
        f"# {names.POLICY_KIND} and {names.CLUSTER_POLICY_KIND}\n",
        told,
    ]
    for part in ("spec", "status"):
        lines += _object(f".{part}", schema["properties"][part])
    return "\n".join(lines).rstrip() + "\n"


FILES: Final[dict[str, Callable[[], str]]] = {
    "docs/exactly-once.md": exactly_once,
    "docs/states.md": states,
    "docs/reference/reasons.md": reasons,
    "docs/reference/api.md": api,
    "docs/reference/policies.md": policies,
}
