"""The settings for who calls where no key is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from cse_operator.cloud.endpoints import STS_TEMPLATE
from cse_operator.runtime.setting_types import Names


class IdentitySettings(BaseSettings):
    """What an administrator can set about ServiceAccounts and the operator's own identity."""

    sts_endpoint: str = Field(
        default=STS_TEMPLATE, description="URL of the vendor's STS, for trust agencies"
    )
    token_audience: str = Field(
        default="cse-operator",
        min_length=1,
        description="audience of the tokens of ServiceAccounts that are traded at the vendor: the "
        "client id of the identity providers",
    )
    pod_identity_namespaces: Names = Field(
        default=(),
        description="namespaces whose resources may do without credentialsRef: they use the "
        "operator's own identity, which CCE has given to its Pod or --pod-identity-provider knows; "
        "none means that it is not used",
    )
    pod_identity_provider: str = Field(
        default="",
        description="identity provider in IAM that knows the operator's own ServiceAccount, by "
        "--pod-token-file; without it CCE's pod identity is used",
    )
    pod_token_file: Path | None = Field(
        default=None,
        description="file with a projected token of that ServiceAccount, for the provider",
    )

    @model_validator(mode="after")
    def _a_provider_has_a_token(self) -> Self:
        if bool(self.pod_identity_provider) != (self.pod_token_file is not None):
            raise ValueError("--pod-identity-provider and --pod-token-file need each other")
        return self
