"""The operator's settings: flags of `cse-operator run`, or environment variables.

A flag such as `--poll-interval 5` and a variable such as `CSE_OPERATOR_POLL_INTERVAL=5` mean
the same; the flag wins. Durations are in seconds.
"""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from cse_operator.cloud.endpoints import CSE_TEMPLATE, IAM_TEMPLATE
from cse_operator.cloud.proxy import check_no_proxy, proxy_of
from cse_operator.cloud.trust import tls_context
from cse_operator.core.observation import Limits
from cse_operator.runtime.http_server import ServingCertificate
from cse_operator.runtime.identity_settings import IdentitySettings
from cse_operator.runtime.setting_types import Names

LAST_PORT: Final = 65_535

PROJECTS_AT_ONCE: Final = 4
"""Workers and connections suffice for this many projects at their maximum: if all but one are
throttled or do not answer, the last one still has its own."""

DATE_RESOLUTION: Final = 1.0
"""The vendor's clock, which also measures the grace, is read in whole seconds."""


def _address_and_port(value: str) -> str:
    """Refuse an address that cannot be listened on, before anything is started."""
    matched = re.fullmatch(r"([^:/\s]*|\[[0-9a-fA-F:.]+\]):(\d{1,5})", value, re.ASCII)
    if value and (matched is None or int(matched[2]) > LAST_PORT):
        raise ValueError(f"{value!r} is not an address with a port, such as 127.0.0.1:8080")
    return value


def _proxy_url(value: SecretStr | None) -> SecretStr | None:
    """Refuse a proxy that no call could use, in words that do not hold the password."""
    if not value:  # an empty variable counts as unset
        return None
    proxy_of(value)
    return value


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse patterns that would match no host."""
    check_no_proxy(value)
    return value


def _certificates(value: Path | None) -> Path | None:
    """Refuse a file that would make every call fail, before anything is started."""
    try:
        if value is not None:
            tls_context(value)
    except ssl.SSLError:
        raise ValueError(f"{value} does not hold CA certificates in PEM form") from None
    except OSError as error:
        raise ValueError(f"{value} cannot be read: {error.strerror}") from None
    return value


def _key_pair(value: Path | None) -> Path | None:
    """Refuse a folder that cannot be used to serve TLS, before anything is started."""
    try:
        if value is not None:
            ServingCertificate(value)
    except ssl.SSLError:
        raise ValueError(f"tls.crt and tls.key in {value} are not a certificate and key") from None
    except OSError as error:
        raise ValueError(f"{error.filename or value} cannot be read: {error.strerror}") from None
    return value


class Settings(IdentitySettings):
    """All settings of an administrator."""

    model_config = SettingsConfigDict(
        env_prefix="CSE_OPERATOR_",
        extra="forbid",
        frozen=True,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        nested_model_default_partial_update=False,
    )

    namespaces: Names = Field(
        default=(), description="namespaces to serve, separated by commas; none means all"
    )

    observe_only: bool = Field(
        default=False,
        description="call neither Upgrade nor Retry: only look, adopt, follow and report",
    )

    require_policy: bool = Field(
        default=False,
        description="hold every engine that no UpgradePolicy or ClusterUpgradePolicy selects",
    )

    cse_endpoint: str = Field(
        default=CSE_TEMPLATE,
        description="URL of the vendor's API; {region} is replaced by a resource's region, "
        "{domain} by the domain of its site",
    )
    iam_endpoint: str = Field(
        default=IAM_TEMPLATE,
        description="URL of the vendor's IAM, for passwords and identity providers",
    )
    allow_insecure_endpoint: bool = Field(
        default=False,
        description="allow plain http and loopback addresses as endpoints (for a simulator)",
    )
    sites: Names = Field(
        default=(),
        description="PATTERN=DOMAIN for regions that the vendor has not published, or that have "
        "another domain, such as my-region-*=cloud.example.com; the first match decides",
    )
    allowed_regions: Names = Field(
        default=(), description="regions that resources may name; none means all that have a site"
    )
    https_proxy: Annotated[SecretStr | None, AfterValidator(_proxy_url)] = Field(
        default=None, description="proxy for calls to the vendor; the environment's is ignored"
    )
    no_proxy: Annotated[Names, AfterValidator(_hosts)] = Field(
        default=(), description="domains and addresses to reach without --https-proxy"
    )
    ca_bundle: Annotated[Path | None, AfterValidator(_certificates)] = Field(
        default=None, description="file with the CA certificates to trust for the vendor's API"
    )

    poll_interval: float = Field(
        default=5.0, gt=0, description="seconds between looks at running jobs"
    )
    resync_interval: float = Field(
        default=600.0, gt=0, description="seconds between looks at engines at rest"
    )
    progress_interval: float = Field(
        default=60.0, ge=0, description="seconds between two steps written for one resource"
    )
    outcome_grace: float = Field(
        default=35.0,
        gt=0,
        description="seconds to look for the effect of a call whose answer was lost, before the "
        "call is made again: at least the sum of --send-window, --request-timeout, --read-lag and "
        "--clock-tolerance, and at least --lease-duration plus --request-timeout. The operator "
        "waits that long before its first upgrade after a start or an election",
    )
    read_lag: float = Field(
        default=10.0, ge=0, description="seconds for which the vendor may show an older state"
    )
    clock_tolerance: float = Field(
        default=5.0,
        ge=DATE_RESOLUTION,
        le=5.0,  # job matching uses it, too
        description="seconds by which two clocks of the vendor may differ, at most 5",
    )
    outcome_repeats: int = Field(
        default=2,
        ge=0,
        le=10,
        description="how many times a call with an unknown outcome is made again before a person "
        "is asked",
    )
    send_window: float = Field(
        default=5.0,
        gt=0,
        description="seconds after a decision to call during which the call may still be sent",
    )
    wait_interval: float = Field(
        default=15.0, gt=0, description="seconds between looks at an engine that is busy"
    )
    slow_interval: float = Field(
        default=60.0, gt=0, description="seconds between looks at a problem that needs a person"
    )
    credentials_cooldown: float = Field(
        default=300.0, gt=0, description="seconds for which refused credentials are not tried again"
    )
    request_timeout: float = Field(
        default=15.0, gt=0, description="seconds for one call to the vendor"
    )

    workers: int = Field(
        default=32,
        ge=1,
        le=512,
        description="resources of one project reconciled at once (of all projects: four times as "
        "many)",
    )
    cloud_connections: int = Field(
        default=32,
        ge=1,
        le=512,
        description="connections to the vendor's API that one project may use (all projects: "
        "four times as many)",
    )
    calls_per_second: float = Field(
        default=100.0,
        gt=0,
        description="calls per second of each vendor operation in each project",
    )

    listen: Annotated[str, AfterValidator(_address_and_port)] = Field(
        default="127.0.0.1:8080",
        description="address of /metrics, /healthz and /readyz; empty for none",
    )
    probe_listen: Annotated[str, AfterValidator(_address_and_port)] = Field(
        default="",
        description="address of /healthz and /readyz, if not that of --listen",
    )
    metrics_tls: Annotated[Path | None, AfterValidator(_key_pair)] = Field(
        default=None,
        description="folder with tls.crt and tls.key: /metrics is served over TLS, to clients that "
        "Kubernetes allows to get it; needs --probe-listen",
    )
    metrics_resource_limit: int = Field(
        default=1000,
        ge=0,
        description="up to this many resources have metrics of their own; with more of them, only "
        "totals are shown",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="text or json")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug, info, warning or error"
    )

    leader_elect: bool = Field(
        default=False, description="take part in an election, so that a standby can take over"
    )
    lease_name: str = Field(default="cse-operator", description="name of the election's Lease")
    lease_namespace: str = Field(
        default_factory=lambda: os.environ.get("POD_NAMESPACE", "default"),
        description="namespace of that Lease",
    )
    lease_duration: int = Field(
        default=15, ge=3, description="seconds after which a silent leader is replaced"
    )

    @model_validator(mode="after")
    def _guarded_metrics_have_a_port_of_their_own(self) -> Self:
        if self.metrics_tls is not None and not self.probe_listen:
            raise ValueError(
                "--metrics-tls needs --probe-listen, such as :8081: the kubelet's probes send no "
                "token"
            )
        return self

    @property
    def longest_outcome(self) -> float:
        """Return the seconds after an intent by which its call's effect shows at the latest."""
        on_its_way = self.send_window + self.request_timeout
        return on_its_way + self.read_lag + self.clock_tolerance

    @property
    def call_takes(self) -> float:
        """Return the seconds from a decision to call until the vendor has read the credentials."""
        return self.send_window + self.request_timeout + self.clock_tolerance

    @model_validator(mode="after")
    def _calls_end_within_the_grace(self) -> Self:
        if self.outcome_grace < self.longest_outcome:
            raise ValueError(
                f"--outcome-grace {self.outcome_grace:g} is too short: the effect of a call may be "
                f"shown {self.longest_outcome:g} seconds after its intent (--send-window "
                f"{self.send_window:g}, --request-timeout {self.request_timeout:g}, --read-lag "
                f"{self.read_lag:g}, --clock-tolerance {self.clock_tolerance:g}), and the call "
                "must not be made again before that"
            )
        return self

    @model_validator(mode="after")
    def _a_predecessors_calls_end_within_the_grace(self) -> Self:
        longest = self.lease_duration + self.request_timeout
        if self.leader_elect and self.outcome_grace < longest:
            raise ValueError(
                f"--outcome-grace {self.outcome_grace:g} is too short: a call of the previous "
                f"leader may be on its way for {longest:g} seconds (--lease-duration "
                f"{self.lease_duration:g}, --request-timeout {self.request_timeout:g}), and a new "
                "leader must not call before that"
            )
        return self

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return sentences about settings that are allowed but risky, or must not be forgotten."""
        return (*self._about_calls(), *self._about_the_grace())

    def _about_calls(self) -> tuple[str, ...]:
        sentence = "--observe-only is set: the operator calls neither Upgrade nor Retry"
        return (sentence,) if self.observe_only else ()

    def _about_the_grace(self) -> tuple[str, ...]:
        given = "outcome_grace" in self.model_fields_set
        if not given or self.outcome_grace > self.longest_outcome:
            return ()
        sentence = (
            f"--outcome-grace {self.outcome_grace:g} is exactly the sum of --send-window, "
            "--request-timeout, --read-lag and --clock-tolerance: add a second or two as a margin"
        )
        return (sentence,)

    @property
    def limits(self) -> Limits:
        """Return how patient the decisions are."""
        return Limits(
            grace=self.outcome_grace,
            lag=self.read_lag,
            clocks=self.clock_tolerance,
            wait=self.wait_interval,
            slow=self.slow_interval,
            repeats=self.outcome_repeats,
        )
