"""Identities without a stored key: a ServiceAccount, the operator's own one, or its Pod.

An identity knows how to get a temporary key. It holds no secret: each trade asks for a new token.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from cse_operator.clock import utc_now
from cse_operator.cloud.auth import trades
from cse_operator.cloud.auth.trades import TemporaryKey
from cse_operator.cloud.errors import CloudError
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    import httpx

Send = Callable[["httpx.Request"], Awaitable["httpx.Response"]]
IdToken = Callable[[str, str], Awaitable[SecretStr]]
"""Returns a short-lived token for a namespace's ServiceAccount; raises `CloudError`."""

_SESSION_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Places:
    """The origins of a region's IAM and STS, which trade tokens for keys."""

    iam: str
    sts: str


@dataclass(frozen=True, slots=True)
class Federation:
    """An identity provider of IAM; its conversion rules map a token to an IAM identity."""

    provider: str


@dataclass(frozen=True, slots=True)
class Agency:
    """A trust agency of the new IAM, and the identity provider that it trusts."""

    provider_urn: str
    agency_urn: str


@dataclass(frozen=True, slots=True)
class ServiceAccountIdentity:
    """A ServiceAccount in the namespace of the resources that name it."""

    namespace: str
    name: str
    way: Federation | Agency
    id_token: IdToken = field(repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """Return a name for this identity and its way to a key."""
        return hashlib.sha256(repr((self.namespace, self.name, self.way)).encode()).hexdigest()[:32]

    @property
    def by_agency(self) -> bool:
        """Whether STS trades the token, and not IAM."""
        return isinstance(self.way, Agency)

    def __str__(self) -> str:
        return f"the ServiceAccount {self.name}"

    async def trade(self, send: Send, places: Places, shown: deque[SecretStr]) -> TemporaryKey:
        """Ask for a token, and trade it for a temporary key.

        Args:
            send: Makes one request.
            places: The region's IAM and STS.
            shown: Receives each token before it is sent, so that it is redacted from texts.

        Raises:
            CloudError: There is no token, or the trade failed.
        """
        id_token = await self.id_token(self.namespace, self.name)
        shown.append(id_token)
        if isinstance(self.way, Agency):
            request = trades.agency_request(
                places.sts,
                provider_urn=self.way.provider_urn,
                agency_urn=self.way.agency_urn,
                session=f"{self.namespace}.{self.name}"[:_SESSION_NAME_LENGTH],
                id_token=id_token,
            )
            return trades.read_key(await send(request), utc_now(), shown)
        return await _federated(send, places, self.way, id_token, shown)


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The agency that CCE assigned to the operator's own Pod."""

    url: str
    token_file: Path

    @property
    def fingerprint(self) -> str:
        """Return a name for this identity."""
        return hashlib.sha256(repr((self.url, self.token_file)).encode()).hexdigest()[:32]

    @property
    def namespace(self) -> str:
        """Return no namespace: all namespaces that may use this identity share it."""
        return ""

    def __str__(self) -> str:
        return "the operator's Pod"

    async def trade(self, send: Send, places: Places, shown: deque[SecretStr]) -> TemporaryKey:  # noqa: ARG002 - the agent serves all regions
        """Ask the agent of CCE for a key; see `ServiceAccountIdentity.trade`."""
        authorization = _token_in(self.token_file)
        shown.append(authorization)
        request = trades.pod_request(self.url, authorization)
        return trades.read_key(await send(request), utc_now(), shown)


@dataclass(frozen=True, slots=True)
class ProjectedIdentity:
    """The operator's own ServiceAccount, with the token file that the kubelet renews."""

    way: Federation
    token_file: Path

    @property
    def fingerprint(self) -> str:
        """Return a name for this identity."""
        return hashlib.sha256(repr((self.way, self.token_file)).encode()).hexdigest()[:32]

    @property
    def namespace(self) -> str:
        """Return no namespace: all namespaces that may use this identity share it."""
        return ""

    def __str__(self) -> str:
        return "the operator's own ServiceAccount"

    async def trade(self, send: Send, places: Places, shown: deque[SecretStr]) -> TemporaryKey:
        """Read the token, and trade it; see `ServiceAccountIdentity.trade`."""
        id_token = _token_in(self.token_file)
        shown.append(id_token)
        return await _federated(send, places, self.way, id_token, shown)


KeylessIdentity = ServiceAccountIdentity | PodIdentity | ProjectedIdentity


async def _federated(
    send: Send, places: Places, way: Federation, id_token: SecretStr, shown: deque[SecretStr]
) -> TemporaryKey:
    request = trades.id_token_request(places.iam, way.provider, id_token)
    token = trades.read_token(await send(request), shown)
    shown.append(token)
    request = trades.key_request(places.iam, token)
    return trades.read_key(await send(request), utc_now(), shown)


def _token_in(path: Path) -> SecretStr:
    """Read the token from a mounted file, which CCE or the kubelet renews."""
    try:
        # Blocking is fine here: a few hundred bytes, once an hour.
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it is not text"
        message = f"The token of the operator's own identity in {path} cannot be read: {said}"
        raise CloudError(Failure(FailureKind.CREDENTIALS_MISSING, message)) from None
    if not text.isprintable() or not text:
        message = f"The token of the operator's own identity in {path} is empty or not printable"
        raise CloudError(Failure(FailureKind.CREDENTIALS_INVALID, message))
    return SecretStr(text)
