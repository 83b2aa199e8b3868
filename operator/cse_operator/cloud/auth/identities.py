"""Whose calls they are where no key is stored: a ServiceAccount, or the operator's own Pod.

An identity says how it becomes a temporary key. It holds no secret: the token is asked for anew for
each trade.
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
"""Gives a short token of the ServiceAccount in a namespace; raises `CloudError`."""

_SESSION_NAME_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Places:
    """Where a region trades: the origins of its IAM and STS."""

    iam: str
    sts: str


@dataclass(frozen=True, slots=True)
class Federation:
    """An identity provider of IAM, whose conversion rules say who a token becomes."""

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
        """A name for this identity: who it is, and by which way."""
        return hashlib.sha256(repr((self.namespace, self.name, self.way)).encode()).hexdigest()[:32]

    @property
    def by_agency(self) -> bool:
        """Whether STS is asked, and not IAM."""
        return isinstance(self.way, Agency)

    def __str__(self) -> str:
        return f"the ServiceAccount {self.name}"

    async def trade(self, send: Send, places: Places, shown: deque[SecretStr]) -> TemporaryKey:
        """Ask for a token, and trade it.

        Args:
            send: Makes one request.
            places: Where the region trades.
            shown: Takes each secret on the way, before it is sent: no text may contain it.

        Raises:
            CloudError: There is no token, or nobody takes it.
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
    """The agency that CCE has given to the operator's own Pod."""

    url: str
    token_file: Path

    @property
    def fingerprint(self) -> str:
        """A name for this identity."""
        return hashlib.sha256(repr((self.url, self.token_file)).encode()).hexdigest()[:32]

    @property
    def namespace(self) -> str:
        """No tenant's: the namespaces that it is lent to share it."""
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
    """The operator's own ServiceAccount, by the token that the kubelet renews in a file."""

    way: Federation
    token_file: Path

    @property
    def fingerprint(self) -> str:
        """A name for this identity."""
        return hashlib.sha256(repr((self.way, self.token_file)).encode()).hexdigest()[:32]

    @property
    def namespace(self) -> str:
        """No tenant's: the namespaces that it is lent to share it."""
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
    """The token that is mounted in a file, which somebody else renews."""
    try:
        # A few hundred bytes, once an hour.
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "it is not text"
        message = f"The token of the operator's own identity in {path} cannot be read: {said}"
        raise CloudError(Failure(FailureKind.CREDENTIALS_MISSING, message)) from None
    if not text.isprintable() or not text:
        message = f"The token of the operator's own identity in {path} is none"
        raise CloudError(Failure(FailureKind.CREDENTIALS_INVALID, message))
    return SecretStr(text)
