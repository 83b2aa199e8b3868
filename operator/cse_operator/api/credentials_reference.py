"""How a resource names its credentials: a Secret or a ServiceAccount in its own namespace."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from cse_operator.api.model import Model

_NAME_OF_OBJECT: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_URN: Final = r"^[a-z]+:[-a-z0-9]*:[0-9a-zA-Z]*:[a-zA-Z]+:[-0-9a-zA-Z_./@+=]+$"
"""Service, region, account, type and name. A URN goes only into the body of a request."""

ONE_REFERENCE: Final = "name a Secret by name, or a serviceAccount: one of the two"
ONE_TRADE: Final = "name an identityProvider or a trustAgency: one of the two"


class TrustAgency(Model):
    """The agency that a token of the ServiceAccount assumes at the vendor's STS."""

    provider_urn: str = Field(
        description="URN of the identity provider in IAM (new version).",
        min_length=1,
        max_length=253,
        pattern=_URN,
    )
    agency_urn: str = Field(
        description="URN of the trust agency to assume.",
        min_length=1,
        max_length=253,
        pattern=_URN,
    )


class ServiceAccountReference(Model):
    """Names a ServiceAccount, and how the vendor exchanges its tokens."""

    name: str = Field(
        description="Name of a ServiceAccount in the same namespace.",
        min_length=1,
        max_length=253,
        pattern=_NAME_OF_OBJECT,
    )
    identity_provider: str | None = Field(
        default=None,
        description="Name of the identity provider in IAM (OpenID Connect) that knows the cluster; "
        "its conversion rules say what the ServiceAccount may do.",
        min_length=1,
        max_length=64,
        pattern=r"^[0-9a-zA-Z]([-0-9a-zA-Z_]*[0-9a-zA-Z])?$",
    )
    trust_agency: TrustAgency | None = Field(
        default=None,
        description="The agency to assume through an identity provider of the new IAM.",
    )

    @model_validator(mode="after")
    def _has_one_trade(self) -> Self:
        if (self.identity_provider is None) == (self.trust_agency is None):
            raise ValueError(ONE_TRADE)
        return self


class CredentialsReference(Model):
    """Names a Secret with the credentials, or a ServiceAccount, in the resource's own namespace.

    A ServiceAccount has a separate field instead of a `kind` beside `name`: a build or a CRD that
    does not know the field finds no name, and cannot read a ServiceAccount as a Secret.
    """

    name: str | None = Field(
        default=None,
        description="Name of a Secret in the same namespace.",
        min_length=1,
        max_length=253,
        pattern=_NAME_OF_OBJECT,
    )
    service_account: ServiceAccountReference | None = Field(
        default=None,
        description="A ServiceAccount in the same namespace whose short-lived tokens are exchanged "
        "for temporary keys, so that no key is stored.",
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.name is None) == (self.service_account is None):
            raise ValueError(ONE_REFERENCE)
        return self
