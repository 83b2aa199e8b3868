"""The spec of `MicroserviceEngine`: the engine and its desired version.

This module and `status.py` are the source of the CRD and of every read of a resource. Field names
in Python are the manifest's, in snake case; aliases give the camel case. `kubectl explain` shows
the descriptions.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from cse_operator.api import duration
from cse_operator.api.credentials_reference import CredentialsReference
from cse_operator.api.model import Model
from cse_operator.api.patterns import REGION_PATTERN

VERSION_FORM: Final = r"^[0-9]+[.][0-9]+[.][0-9]+([-+._].*)?$"
"""At least three numeric parts, and no leading `v`."""

VERSION_ADVICE: Final = (
    "write at least three numeric parts and no leading v, such as 2.4.0 or 2.1.0.16"
)


def _whole_version(value: str) -> str:
    """Refuse a version in a form that the vendor does not use: `v2.4.0`, `2.4`."""
    if not re.fullmatch(VERSION_FORM.strip("^$"), value, re.ASCII):
        raise ValueError(VERSION_ADVICE)
    return value


class UpgradeOptions(Model):
    """Options of upgrades."""

    timeout: str = Field(
        default="2h",
        description="How long a job may run before it is reported as overdue, such as 90m or "
        "2h. An overdue job is still followed to its end.",
        pattern=duration.PATTERN,
        max_length=16,
    )
    retry_limit: int = Field(
        default=1,
        description="How many times a failed job is retried (the vendor's action Retry) before "
        "a person is needed.",
        ge=0,
        le=10,
    )
    priority: int = Field(
        default=0,
        description="Order among the engines that wait for a policy's slot: the highest first.",
        ge=-1000,
        le=1000,
    )


class Spec(Model):
    """The engine and its desired version."""

    region: str = Field(
        description="The vendor's region, such as cn-north-4. Immutable.",
        min_length=1,
        max_length=32,
        pattern=REGION_PATTERN,
    )
    project_id: str = Field(
        description="Id of the engine's project. Immutable.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    engine_id: str = Field(
        description="Id of the engine. Immutable.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    enterprise_project_id: str | None = Field(
        default=None,
        description="Id of the enterprise project; without it the vendor uses the default one.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    version: Annotated[str, AfterValidator(_whole_version)] = Field(
        description="The desired version, such as 2.4.0 (Nacos: four parts, such as 2.1.0.16), "
        "without a leading v. Versions only go up. A later patch in the last part is accepted.",
        min_length=1,
        max_length=24,
        pattern=r"^[0-9a-zA-Z]([-+._0-9a-zA-Z]*[0-9a-zA-Z])?$",
    )
    credentials_ref: CredentialsReference | None = Field(
        default=None,
        description="The Secret with the credentials, or a ServiceAccount, in the same namespace. "
        "Without it the operator uses its own identity, if its administrator allows that for this "
        "namespace.",
    )
    suspend: bool = Field(
        default=False,
        description="True: keep observing the engine and following its jobs, start nothing.",
    )
    upgrade: UpgradeOptions = Field(
        default_factory=UpgradeOptions, description="Options of upgrades."
    )
