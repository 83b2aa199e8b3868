"""Access to guarded metrics: clients that Kubernetes allows to `get` their path."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.clock import boottime
from cse_operator.kube.errors import KubeError
from cse_operator.kube.reviews import may_get, user_of

PATH: Final = "/metrics"
REMEMBERED: Final = 60.0
"""Seconds for which an accepted token is not checked again."""
MOST_REMEMBERED: Final = 64
ASKED_AT_ONCE: Final = 2
"""Concurrent questions to the API server: strangers must not take the operator's connections."""


class MetricsAccess:
    """Checks each token, and remembers the accepted ones for a minute."""

    def __init__(self, api_client: ApiClient, *, clock: Callable[[], float] = boottime) -> None:
        self._api_client = api_client
        self._clock = clock
        self._let_in: dict[bytes, float] = {}
        self._turns = asyncio.Semaphore(ASKED_AT_ONCE)

    async def refusal(self, authorization: str | None) -> HTTPStatus | None:
        """Return the refusal for a client's header `Authorization`; None lets the client in."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return HTTPStatus.UNAUTHORIZED
        digest = hashlib.sha256(token.encode()).digest()
        if self._let_in.get(digest, 0.0) > self._clock():
            return None
        try:
            async with self._turns:
                refusal = await self._ask(SecretStr(token.strip()))
        except KubeError:
            return HTTPStatus.SERVICE_UNAVAILABLE
        if refusal is None:
            while len(self._let_in) >= MOST_REMEMBERED:
                del self._let_in[next(iter(self._let_in))]
            self._let_in[digest] = self._clock() + REMEMBERED
        else:
            self._let_in.pop(digest, None)
        return refusal

    async def _ask(self, token: SecretStr) -> HTTPStatus | None:
        user = await user_of(self._api_client, token)
        if user is None:
            return HTTPStatus.UNAUTHORIZED
        allowed = await may_get(self._api_client, user, PATH)
        return None if allowed else HTTPStatus.FORBIDDEN
