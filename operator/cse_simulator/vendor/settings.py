"""The settings of the simulated vendor.

Where the vendor's documentation contradicts itself or says nothing, a setting here chooses one
reading, so that a client can be rehearsed against each of them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from cse_simulator.vendor import wire
from cse_simulator.vendor.answers import ErrorKeys

PagingStyle = Literal["item", "item-from-one", "page", "page-from-zero"]
UpgradePolicy = Literal["offered", "upward", "any"]
RetryJobId = Literal["new", "same"]
RunningEndTime = Literal["zero", "null", "absent", "start"]
JobListForm = Literal["plain", "wrapped", "absent"]
JobListOrder = Literal["newest-first", "oldest-first"]
CredentialRecord = Literal["present", "sha256"]


@dataclass(slots=True)
class Settings:
    """Settings of one simulator; those in `CHANGEABLE` may be changed while it runs.

    The name of a duration gives its unit. Vendor facts come from the Huawei Cloud CSE API
    Reference; each default follows it where it is clear.
    """

    job_seconds: float = field(
        default=3.0,
        metadata={"help": "How long an upgrade job runs when no job plan says otherwise."},
    )

    read_lag_ms: float = field(
        default=0.0, metadata={"help": "Reads show engines and jobs as they were this long ago."}
    )

    paging_style: PagingStyle = field(
        default="item",
        metadata={
            "help": "The unit of `offset` in lists: the documentation names items and pages. "
            "`item-from-one` and `page` answer the offsets 0 and 1 alike."
        },
    )

    job_list: JobListForm = field(
        default="plain",
        metadata={
            "help": "The list of an engine's jobs: plain as in the API reference, wrapped in a "
            "list under `OK` as in an older page, or absent (the gateway's 404 APIGW.0101)."
        },
    )

    job_list_order: JobListOrder = field(
        default="newest-first",
        metadata={"help": "The order of that list, which is not documented."},
    )

    job_list_lag_ms: float = field(
        default=0.0,
        metadata={"help": "The lag of that list in addition to that of other reads."},
    )

    maximum_limit: int = field(
        default=1000,
        metadata={"help": "Lists answer at most this many rows, whatever `limit` says."},
    )

    default_limit: int = field(
        default=10, metadata={"help": "The `limit` of a list call that names none."}
    )

    list_default_type: str = field(
        default="ALL", metadata={"help": "The `type` of a ListEngines call that names none."}
    )

    upgrade_policy: UpgradePolicy = field(
        default="offered",
        metadata={"help": "Accepted target versions: offered and higher, any higher, or any."},
    )

    retry_job_id: RetryJobId = field(
        default="new",
        metadata={
            "help": "Whether Retry starts a new job, or runs the failed job again under its id."
        },
    )

    missing_engine_status: int = field(
        default=400,
        metadata={"help": "HTTP status of SVCSTG.00501116 (also seen in the field: 401)."},
    )

    missing_job_status: int = field(
        default=400, metadata={"help": "HTTP status of SVCSTG.00501153."}
    )

    version_refused_code: str = field(
        default="SVCSTG.00501199",
        metadata={
            "help": "Engine-level code for a refused target version. It is made up, because the "
            "vendor does not document its own: a client must not depend on it."
        },
    )

    enforce_enterprise_project: bool = field(
        default=False,
        metadata={
            "help": "Hide engines outside the enterprise project in X-Enterprise-Project-ID."
        },
    )

    quirks: bool = field(
        default=True,
        metadata={
            "help": "Show the oddities of the vendor's examples: the key `taskexEcutorBrief`, and "
            "an inner task that stays `Init` in a `Finished` job."
        },
    )

    running_end_time: RunningEndTime = field(
        default="zero",
        metadata={"help": "The value of `endTime` while a job runs, which is not documented."},
    )

    token_lifetime_seconds: float = field(
        default=24 * 3600.0,
        metadata={"help": "How long a token issued by POST /v3/auth/tokens is valid."},
    )

    temporary_key_seconds: float = field(
        default=24 * 3600.0,
        metadata={"help": "The longest validity of a temporary key, whatever a request asks for."},
    )

    iam_projects: str = field(
        default="",
        metadata={"help": "Projects that IAM knows, separated by commas; empty means any."},
    )

    unknown_project_status: int = field(
        default=404,
        metadata={"help": "HTTP status of a token request for a project that IAM does not know."},
    )

    calls_per_second: float = field(
        default=0.0,
        metadata={
            "help": "Throttle: calls per second for each API of each project, 0 for no limit."
        },
    )

    throttle_retry_after_seconds: int = field(
        default=0, metadata={"help": "Retry-After in the answer of that throttle, 0 for none."}
    )

    error_keys: ErrorKeys = field(
        default="error_msg",
        metadata={"help": "Key of the message in engine-level errors; the versions differ."},
    )

    key_lock_seconds: float = field(
        default=300.0,
        metadata={"help": "How long an access key is locked after too many failures in a row."},
    )

    key_lock_failures: int = field(
        default=5, metadata={"help": "Failures in a row that do not yet lock an access key."}
    )

    user_lock_seconds: float = field(
        default=900.0,
        metadata={"help": "How long a user is locked after too many wrong passwords in a row."},
    )

    user_lock_failures: int = field(
        default=5, metadata={"help": "Wrong passwords in a row that do not yet lock a user."}
    )

    key_clock_skew_seconds: float = field(
        default=900.0, metadata={"help": "How far X-Sdk-Date may differ from this server's clock."}
    )

    clock_offset_seconds: float = field(
        default=0.0,
        metadata={
            "help": "How far this server's clock (and its Date header) is ahead of the machine's."
        },
    )

    record_calls: int = field(
        default=10_000,
        metadata={"help": "How many calls are kept in full; counters are not bounded."},
    )

    record_credentials: CredentialRecord = field(
        default="present",
        metadata={
            "help": "What to record of a credential: its presence, or a short SHA-256 as well."
        },
    )

    first_job_id: int = field(default=12_339, metadata={"help": "The first job id handed out."})

    tokens: dict[str, str] = field(default_factory=dict)
    """Accepted static tokens, each with the project it is scoped to ("" for any)."""

    users: list[dict[str, str]] = field(default_factory=list)
    """Accepted users: mappings of `name`, `password` and `domain`."""

    access_keys: dict[str, str] = field(default_factory=dict)
    """Accepted access keys, each with its secret key."""

    security_tokens: dict[str, str] = field(default_factory=dict)
    """The security token that a temporary access key must come with."""

    identity_providers: list[dict[str, Any]] = field(default_factory=list)
    """Mappings of `name` (or URN), `issuer`, `audience`, `jwks`, `subjects` (patterns with `*` that
    the rules admit), and, if an agency trusts the provider, the agency's URN as `agency`."""

    pod_identities: dict[str, str] = field(default_factory=dict)
    """Tokens of the Pods that CCE has given an agency, each with the agency's name."""

    @property
    def is_open(self) -> bool:
        """Whether no credential is configured, so that every non-empty credential is accepted."""
        kinds = (self.tokens, self.users, self.access_keys)
        return not any((*kinds, self.identity_providers, self.pod_identities))


CREDENTIALS = frozenset(
    {
        *("tokens", "users", "access_keys", "security_tokens"),
        *("identity_providers", "pod_identities"),
    }
)
"""The settings with credentials; they are replaced together, and never shown."""
USER_KEYS = frozenset({"name", "password", "domain"})
PROVIDER_KEYS = frozenset({"name", "issuer", "audience", "jwks", "subjects"})

CHANGEABLE = frozenset(
    name.name
    for name in dataclasses.fields(Settings)
    if name.name not in {"record_calls", "first_job_id"} | CREDENTIALS
)


def to_json(settings: Settings) -> dict[str, Any]:
    """Return the changeable settings under their JSON names."""
    return {wire.camel_case(name): getattr(settings, name) for name in sorted(CHANGEABLE)}


def change(settings: Settings, changes: dict[str, Any]) -> None:
    """Change settings in place, all of them or none.

    Args:
        settings: The settings to change.
        changes: New values under their JSON names.

    Raises:
        ValueError: A name is unknown or not changeable, or a value has the wrong type.
    """
    checked = wire.arguments(Settings, changes)
    fixed = sorted(set(checked) - CHANGEABLE)
    if fixed:
        raise ValueError(f"these can be set only at the start: {', '.join(fixed)}")
    for name, value in checked.items():
        setattr(settings, name, value)


def replace_credentials(settings: Settings, credentials: dict[str, Any]) -> None:
    """Accept these credentials from now on, and no others.

    Args:
        settings: The settings to change.
        credentials: Settings in `CREDENTIALS` by their JSON names; a setting left out becomes
            empty.

    Raises:
        ValueError: A name is not in `CREDENTIALS`, a value is wrong, or there is no credential.
    """
    checked = wire.arguments(Settings, credentials)
    others = sorted(set(checked) - CREDENTIALS)
    users = checked.get("users", [])
    providers = checked.get("identity_providers", [])
    whole = all(isinstance(user, dict) and set(user) == USER_KEYS for user in users) and all(
        isinstance(one, dict) and set(one) - {"agency"} == PROVIDER_KEYS for one in providers
    )
    if others or not whole or not any(checked.values()):
        allowed = ", ".join(wire.camel_case(name) for name in sorted(CREDENTIALS))
        raise ValueError(f"at least one complete credential is needed, of {allowed}")
    for name in CREDENTIALS:
        is_list = name in {"users", "identity_providers"}
        empty: list[Any] | dict[str, Any] = [] if is_list else {}
        setattr(settings, name, checked.get(name, empty))
