"""The models of `UpgradePolicy` and `ClusterUpgradePolicy`: when an engine may start to upgrade.

They are the source of the CRDs and of every read of a policy. An unknown field or word is an error:
a policy that is not completely understood holds all engines that it selects (core/policies.py).
The API server's rules (CEL) stand beside the fields, with bounds that keep their cost small.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, model_validator

from cse_operator.api.advice import ADVICE
from cse_operator.api.model import Model
from cse_operator.api.patterns import (
    CRON_PATTERN,
    LABEL_KEY_PATTERN,
    LABEL_VALUE_PATTERN,
    NAME_PATTERN,
    SPAN_PATTERN,
    ZONE_PATTERN,
)
from cse_operator.api.status import NEVER_OBSERVED
from cse_operator.api.status_model import Timestamp

LabelValue = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE_PATTERN)]
ApprovedVersion = Annotated[
    str, Field(min_length=1, max_length=24, pattern=r"^[0-9a-zA-Z]([-+._0-9a-zA-Z]*[0-9a-zA-Z])?$")
]

MOST_WINDOWS: Final = 16
MOST_FREEZES: Final = 64
MOST_WAVES: Final = 16
LAST_YEAR: Final = 2200
"""Freezes end before this year: a time near the year 10000 cannot be converted to UTC."""


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    return {"x-kubernetes-validations": [{"rule": rule, "message": told} for rule, told in rules]}


_BY_NAME: Final[dict[str, Any]] = {
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
}


class PolicyModel(Model):
    """A part of a policy. Unknown fields are refused, so that no policy is applied by half."""

    model_config = ConfigDict(extra="forbid")


class Operator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(PolicyModel):
    """One comparison of a label."""

    model_config = ConfigDict(
        json_schema_extra=_rules(
            (
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "In and NotIn need values, Exists and DoesNotExist take none",
            )
        )
    )

    key: str = Field(
        description="The label.", min_length=1, max_length=317, pattern=LABEL_KEY_PATTERN
    )
    operator: Operator = Field(description="In, NotIn, Exists or DoesNotExist.")
    values: tuple[LabelValue, ...] = Field(
        default=(), description="For In and NotIn: the values.", max_length=64
    )

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        """Apply the API server's rule again: a stored policy may be older than the rule."""
        if (self.operator in {Operator.IN, Operator.NOT_IN}) != bool(self.values):
            raise ValueError("In and NotIn need values, Exists and DoesNotExist take none")
        return self


class Selector(PolicyModel):
    """A label selector as in Kubernetes: all its requirements must hold."""

    match_labels: dict[str, LabelValue] = Field(
        default_factory=dict,
        description="Labels and their values.",
        json_schema_extra={"maxProperties": 32},
    )
    match_expressions: tuple[Requirement, ...] = Field(
        default=(), description="Comparisons of labels.", max_length=32
    )


class Approval(StrEnum):
    """Whether a person has to approve each version."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


_SPAN: Final[dict[str, Any]] = {"min_length": 2, "max_length": 12, "pattern": SPAN_PATTERN}


class Window(PolicyModel):
    """A recurring time in which upgrades may start."""

    model_config = ConfigDict(
        json_schema_extra=_rules(
            (
                "!has(self.cutoff) || duration(self.cutoff) < duration(self.duration)",
                "cutoff must be shorter than duration",
            )
        )
    )

    name: str = Field(
        description="A name for messages.", min_length=1, max_length=63, pattern=NAME_PATTERN
    )
    schedule: str = Field(
        description="When the window opens: five cron fields in upper case, such as 0 2 * * SAT. "
        "Minutes and hours are numbers. Give the day of month or the day of week, not both. At "
        "most 24 starts a day.",
        min_length=9,
        max_length=100,
        pattern=CRON_PATTERN,
        json_schema_extra=_rules(
            (
                "!self.matches('^[^ ]+ [^ ]+ [^*]+ [^ ]+ [^*]+$')",
                "give the day of month or the day of week, and * for the other",
            )
        ),
    )
    duration: str = Field(
        description="How long the window is open, from 5m to 168h of elapsed time: 8h are eight "
        "hours even if clocks change meanwhile.",
        **_SPAN,
        json_schema_extra=_rules(
            (
                "duration(self) >= duration('5m') && duration(self) <= duration('168h')",
                "duration must be from 5m to 168h",
            )
        ),
    )
    cutoff: str = Field(
        default="0m",
        description="How long before the window's end no upgrade starts any more, such as 1h.",
        **_SPAN,
    )
    time_zone: str = Field(
        default="UTC",
        description="UTC, or a name of the IANA database with a slash, such as Asia/Shanghai.",
        min_length=3,
        max_length=64,
        pattern=ZONE_PATTERN,
        json_schema_extra=_rules(
            (
                "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
                ADVICE[ZONE_PATTERN],
            )
        ),
    )


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is no moment in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Freeze(PolicyModel):
    """A time in which nothing starts, whatever the windows say."""

    model_config = ConfigDict(
        json_schema_extra=_rules(
            ("self.from < self.to", "from must be before to"),
            (
                f"self.to < timestamp('{LAST_YEAR}-01-01T00:00:00Z')",
                f"to must be before the year {LAST_YEAR}",
            ),
        )
    )

    start: Moment = Field(
        alias="from",
        description="When the freeze begins, with an offset: 2026-12-20T00:00:00Z.",
        json_schema_extra={"maxLength": 40},
    )
    end: Moment = Field(
        alias="to",
        description="When the freeze is over: from this moment on upgrades may start again.",
        json_schema_extra={"maxLength": 40},
    )
    reason: str = Field(
        default="", description="The reason, shown with each held engine.", max_length=200
    )

    @model_validator(mode="after")
    def _is_a_time(self) -> Self:
        """Apply the API server's rule again: a stored policy may be older than the rule."""
        if not self.start < self.end:
            raise ValueError("from must be before to")
        if self.end.year >= LAST_YEAR:
            raise ValueError(f"to must be before the year {LAST_YEAR}")
        return self


class Wave(PolicyModel):
    """A group of engines that upgrades before the next group."""

    name: str = Field(
        description="A name for messages.", min_length=1, max_length=63, pattern=NAME_PATTERN
    )
    selector: Selector | None = Field(
        default=None,
        description="The engines in the wave; none: all that are in no earlier wave. Engines in no "
        "wave come last.",
    )
    soak: str = Field(
        default="0m",
        description="How long each engine of the wave must have been well at the version before "
        "the next wave goes.",
        **_SPAN,
        json_schema_extra=_rules(
            ("duration(self) <= duration('720h')", "soak must be at most 720h")
        ),
    )


class PolicySpec(PolicyModel):
    """When the selected engines may start. All policies that select an engine must allow it."""

    selector: Selector | None = Field(
        default=None, description="The engines that the policy selects; none: all in its scope."
    )
    suspend: bool = Field(default=False, description="True: nothing starts.")
    approval: Approval = Field(
        default=Approval.AUTOMATIC,
        description="Manual: a version needs an approval, by the annotation "
        "cse-operator.io/approved-version on the engine or in approvedVersions.",
    )
    approved_versions: tuple[ApprovedVersion, ...] = Field(
        default=(),
        description="Versions that are approved for all selected engines.",
        max_length=64,
    )
    windows: tuple[Window, ...] | None = Field(
        default=None,
        description="When upgrades may start; none: always. A running upgrade is never stopped.",
        min_length=1,
        max_length=MOST_WINDOWS,
        json_schema_extra=_BY_NAME,
    )
    freezes: tuple[Freeze, ...] = Field(
        default=(), description="When nothing starts.", max_length=MOST_FREEZES
    )
    max_concurrent: int | None = Field(
        default=None,
        description="How many selected engines may upgrade at once; none: any number.",
        ge=1,
        le=100_000,
    )
    waves: tuple[Wave, ...] = Field(
        default=(),
        description="Which engines go first; waves are judged by the versions that engines run.",
        max_length=MOST_WAVES,
        json_schema_extra=_BY_NAME,
    )
    max_failures: int | None = Field(
        default=None,
        description="With more failed engines than this, no other engine starts. The default is 0 "
        "with waves, and any number without.",
        ge=0,
        le=100_000,
    )


class ClusterPolicySpec(PolicySpec):
    """When the selected engines of the selected namespaces may start."""

    namespace_selector: Selector | None = Field(
        default=None, description="The namespaces that the policy selects; none: all."
    )


class WaveStatus(Model):
    """The progress of a wave."""

    name: str = Field(description="The wave's name.")
    engines: int = Field(description="Engines in the wave.")
    reached: int = Field(description="Engines of the wave that are at their desired version.")


class PolicyCondition(Model):
    """A condition of a policy."""

    type: str = Field(description="Valid, EmptyWave, AlwaysOpen, NeverOpens or WaveCycle.")
    status: Literal["True", "False"] = Field(description="True or False.")
    observed_generation: int = Field(description="The generation that the condition describes.")
    last_transition_time: Timestamp = Field(description="When the condition's status last changed.")
    reason: str = Field(description="The reason in one word.")
    message: str = Field(description="The reason in a sentence.")


class PolicyStatus(Model):
    """What the operator found about a policy. Only the operator writes it."""

    observed_generation: int = Field(
        default=NEVER_OBSERVED, description="The generation that this status describes."
    )
    gate: Literal["Open", "Closed"] | None = Field(
        default=None,
        description="Whether its windows, freezes and suspend let engines start. An engine may "
        "still wait for an approval, a slot or a wave.",
    )
    next_open: Timestamp | None = Field(default=None, description="When the gate opens next.")
    next_close: Timestamp | None = Field(default=None, description="When the gate closes next.")
    selected: int = Field(default=0, description="Engines that the policy selects.")
    reached: int = Field(default=0, description="Of these, at their desired version.")
    in_flight: int = Field(default=0, description="Of these, upgrading or with an open call.")
    slots: tuple[str, ...] = Field(default=(), description="The engines in flight, five at most.")
    failed: int = Field(default=0, description="Of these, failed at their desired version.")
    waiting: int = Field(default=0, description="Of these, held by a policy.")
    next: tuple[str, ...] = Field(
        default=(), description="The next engines that wait for a slot, five at most."
    )
    waves: tuple[WaveStatus, ...] = Field(default=(), description="The progress of each wave.")
    window_missed: Timestamp | None = Field(
        default=None,
        description="The end of the last window in which an engine that was due did not start.",
    )
    conditions: tuple[PolicyCondition, ...] = Field(default=(), description="Valid, and warnings.")
