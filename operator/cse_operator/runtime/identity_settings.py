"""The settings of identities without a stored key."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from cse_operator.cloud.endpoints import STS_TEMPLATE
from cse_operator.runtime.setting_types import Names


class IdentitySettings(BaseSettings):
    """The settings of ServiceAccounts and of the operator's own identity."""

    sts_endpoint: str = Field(
        default=STS_TEMPLATE, description="URL of the vendor's STS, for trust agencies"
    )
    token_audience: str = Field(
        default="cse-operator",
        min_length=1,
        description="audience of the ServiceAccount tokens that are exchanged at the vendor: the "
        "client id of the identity providers",
    )
    pod_identity_namespaces: Names = Field(
        default=(),
        description="namespaces whose resources may omit credentialsRef and use the operator's own "
        "identity, from CCE's pod identity or from --pod-identity-provider; none means that no "
        "resource may use it",
    )
    pod_identity_provider: str = Field(
        default="",
        description="identity provider in IAM that knows the operator's own ServiceAccount; needs "
        "--pod-token-file; without a provider, CCE's pod identity is used",
    )
    pod_token_file: Path | None = Field(
        default=None,
        description="file with a projected token of that ServiceAccount, for "
        "--pod-identity-provider",
    )

    @model_validator(mode="after")
    def _a_provider_has_a_token(self) -> Self:
        if bool(self.pod_identity_provider) != (self.pod_token_file is not None):
            raise ValueError("--pod-identity-provider and --pod-token-file need each other")
        return self
