"""Authentication of calls, as flows that httpx runs around each request.

The flows do no I/O: a flow that needs a token yields a separate request for it. Each flow passes a
`CredentialBreaker` before it sends credentials that the vendor may refuse.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx

from cse_operator.clock import utc_now
from cse_operator.cloud.answers import (
    OPERATION,
    Operation,
    Verdict,
    failure_of_response,
    verdict_on_credentials,
)
from cse_operator.cloud.auth.breaker import CredentialBreaker
from cse_operator.cloud.auth.credentials import AccessKey, StaticToken
from cse_operator.cloud.auth.signing import sign_request
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.transport import TURN
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import http_date

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from datetime import datetime

    from pydantic import SecretStr


_NOTABLE_CLOCK_DIFFERENCE = 600.0
"""Seconds between the vendor's clock and ours worth mentioning: the vendor refuses above 900."""
_SIGNATURE_EXPIRED = re.compile(r"signature\W+(is |has |was )?expired", re.IGNORECASE)
"""The gateway's words in a 401 for a request whose time differs too much from its clock."""
_CLOCK_DIFFERS = "this machine's clock differs from the vendor's"


class CloudAuth(httpx.Auth, ABC):
    """Base of all kinds of authentication: the breaker, and the values that no text may contain."""

    def __init__(self, breaker: CredentialBreaker | None = None) -> None:
        self.breaker = breaker or CredentialBreaker()
        self.tokens_obtained = 0
        """How many tokens were obtained from IAM; none for other kinds."""

    async def prepare(self) -> None:
        """Prepare for a call that begins now, before its intent is recorded.

        Raises:
            CloudError: The call cannot be made: an identity has no key that outlives the call.
        """

    @abstractmethod
    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the values that must not appear in any text."""

    def held_back(self) -> Failure | None:
        """Return why no call would be sent now, without waiting; None if a call would be sent."""
        return self.breaker.refusal()

    def sync_auth_flow(
        self,
        request: httpx.Request,  # noqa: ARG002
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Refuse synchronous clients: the flows wait for each other asynchronously.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("the operator's authentication needs an asynchronous client")

    def refusal_in(self, request: httpx.Request, response: httpx.Response) -> Failure:
        """Return the refusal in an answer; its message says if a wrong clock is the cause."""
        failure = failure_of_response(
            request.extensions.get(OPERATION, Operation.SHOW_ENGINE),
            response.status_code,
            response.headers,
            response.content,
            None,
            self.secrets(),
        )
        failure = replace(failure, kind=FailureKind.UNAUTHENTICATED)
        theirs = http_date(response.headers.get("Date"))
        difference = abs((utc_now() - theirs).total_seconds()) if theirs else 0.0
        if difference > _NOTABLE_CLOCK_DIFFERENCE or _SIGNATURE_EXPIRED.search(failure.message):
            return replace(failure, message=f"{failure.message} ({_CLOCK_DIFFERS})")
        return failure


class _ShownEachTime(CloudAuth):
    """Credentials that the vendor checks with each call."""

    @abstractmethod
    def show(self, request: httpx.Request) -> None:
        """Add the headers that authenticate the request."""

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send the credentials with the request, and report the verdict to the breaker."""
        async with self.breaker.attempt(*whose(request)):
            self.show(request)
            response = yield request
            verdict = verdict_on_credentials(response.status_code, await response.aread())
            if verdict is Verdict.ACCEPTED:
                self.breaker.accepted()
            elif verdict is Verdict.REFUSED:
                refusal = self.refusal_in(request, response)
                self.breaker.refused(refusal, clock_at_fault=is_clocks_fault(refusal))


class StaticTokenAuth(_ShownEachTime):
    """A token from the Secret, sent unchanged (header `X-Auth-Token`)."""

    def __init__(self, credentials: StaticToken, breaker: CredentialBreaker | None = None) -> None:
        super().__init__(breaker)
        self._token = credentials.token

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the token."""
        return (self._token,)

    def show(self, request: httpx.Request) -> None:
        """Add the token."""
        request.headers["X-Auth-Token"] = self._token.get_secret_value()


class AccessKeyAuth(_ShownEachTime):
    """An access key that signs each request (header `Authorization`)."""

    def __init__(
        self,
        credentials: AccessKey,
        project_id: str,
        breaker: CredentialBreaker | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(breaker)
        self._credentials = credentials
        self._project_id = project_id
        self._now = now

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the two halves of the key, and the security token of a temporary key."""
        return self._credentials.secrets()

    def show(self, request: httpx.Request) -> None:
        """Sign the request."""
        sign_request(request, self._credentials, self._project_id, self._now())


def whose(request: httpx.Request) -> tuple[Turn, str]:
    """Return a request's turn, and its project with the host: regions may share project ids."""
    turn, project = request.extensions.get(TURN, (Turn(), ""))
    return turn, f"{request.url.host}/{project}"


def is_clocks_fault(refusal: Failure) -> bool:
    """Whether the vendor refused credentials because this machine's clock is wrong."""
    return refusal.message.endswith(f"({_CLOCK_DIFFERS})")
