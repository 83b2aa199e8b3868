"""How a call proves who makes it, as flows that httpx runs around each request.

The flows do no I/O: what they need, such as a token, they yield as a request of its own. All of
them pass an `AuthenticationGate`, so that a refused credential is not tried again soon.
"""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, TypeGuard

import httpx

from cse_operator.cloud.answers import (
    OPERATION,
    Operation,
    Verdict,
    failure_of_response,
    verdict_on_credentials,
)
from cse_operator.cloud.clock import utc_now
from cse_operator.cloud.credentials import AccessKey, StaticToken
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.gate import AuthenticationGate
from cse_operator.cloud.iam import Token, read_token, token_request
from cse_operator.cloud.signing import sign
from cse_operator.cloud.transport import DISPATCH, TURN
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.http_time import http_date

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from datetime import datetime

    from pydantic import SecretStr

    from cse_operator.cloud.credentials import Credentials, PasswordToken

__all__ = [
    "AccessKeyAuth",
    "AuthenticationGate",
    "CloudAuth",
    "PasswordTokenAuth",
    "StaticTokenAuth",
    "auth_for",
]

_NOTABLE_CLOCK_DIFFERENCE = 600.0
"""Seconds between the vendor's clock and ours worth mentioning: it refuses above 900."""
_WRONG_PASSWORD = 401
_TOKEN_PAUSE = 5.0
"""Seconds before IAM is asked again after it failed without refusing."""


class CloudAuth(httpx.Auth, ABC):
    """What all kinds of authentication share: the gate, and the values no message may hold."""

    def __init__(self, gate: AuthenticationGate | None = None) -> None:
        self.gate = gate or AuthenticationGate()
        self.tokens_bought = 0
        """How many tokens were bought from IAM; none for other kinds."""

    @abstractmethod
    def secrets(self) -> tuple[SecretStr, ...]:
        """The values that must not appear in any text."""

    def sync_auth_flow(
        self,
        request: httpx.Request,  # noqa: ARG002
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Not available: the flows wait for each other.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError("the operator's authentication needs an asynchronous client")

    async def judge(self, response: httpx.Response) -> Verdict:
        """Say what an answer means for the credential; the gate learns of a good one.

        Only the flows know whether a refusal is final, so it is theirs to close the gate.
        """
        verdict = verdict_on_credentials(response.status_code, await response.aread())
        if verdict is Verdict.ACCEPTED:
            self.note_success()
        return verdict

    def note_success(self) -> None:
        """Tell the gate of a call whose credential was good."""
        self.gate.accepted()

    def close_gate(self, request: httpx.Request, response: httpx.Response) -> None:
        """Let nothing more out for a while, because of this answer."""
        self.gate.refused(self._refusal(request, response))

    def _refusal(self, request: httpx.Request, response: httpx.Response) -> Failure:
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
        if difference > _NOTABLE_CLOCK_DIFFERENCE:
            message = f"{failure.message} (this machine's clock differs from the vendor's)"
            return replace(failure, message=message)
        return failure


class StaticTokenAuth(CloudAuth):
    """A token from the Secret, as it is (header `X-Auth-Token`)."""

    def __init__(self, credentials: StaticToken, gate: AuthenticationGate | None = None) -> None:
        super().__init__(gate)
        self._token = credentials.token

    def secrets(self) -> tuple[SecretStr, ...]:
        """The token."""
        return (self._token,)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the token; the gate learns from the answer."""
        async with self.gate.passage(request.url.host):
            request.headers["X-Auth-Token"] = self._token.get_secret_value()
            response = yield request
            if await self.judge(response) is Verdict.REFUSED:
                self.close_gate(request, response)


class AccessKeyAuth(CloudAuth):
    """An access key that signs each request (header `Authorization`)."""

    def __init__(
        self,
        credentials: AccessKey,
        project_id: str,
        gate: AuthenticationGate | None = None,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(gate)
        self._credentials = credentials
        self._project_id = project_id
        self._now = now

    def secrets(self) -> tuple[SecretStr, ...]:
        """The two halves of the key, and the security token of a temporary one."""
        return self._credentials.secrets()

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign the request; the gate learns from the answer."""
        async with self.gate.attempt(request.url.host):
            request.headers["X-Project-Id"] = self._project_id
            # A proxy may change the other headers on the way, and break the signature thereby.
            signed = {
                name: value
                for name, value in request.headers.items()
                if name == "content-type" or name.startswith("x-")
            }
            request.headers.update(
                sign(
                    request.method,
                    request.url,
                    signed,
                    request.content,
                    self._credentials,
                    self._now(),
                )
            )
            response = yield request
            if await self.judge(response) is Verdict.REFUSED:
                self.close_gate(request, response)


class PasswordTokenAuth(CloudAuth):
    """A user whose password buys tokens from IAM, kept until shortly before they expire.

    One token serves all calls. When it is refused, one new token is bought and a read is made
    once more. A changing call is not: whoever made it looks at the engine first.
    """

    def __init__(
        self,
        credentials: PasswordToken,
        project_id: str,
        iam_endpoint: str,
        gate: AuthenticationGate | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(gate)
        self._credentials = credentials
        self._project_id = project_id
        self._iam_endpoint = iam_endpoint
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._buying = asyncio.Lock()
        self._token: Token | None = None
        self._spent: Token | None = None
        self._expires_at = 0.0
        self._renew_at = 0.0
        self._failure: Failure | None = None
        self._ask_again_at = 0.0

    def secrets(self) -> tuple[SecretStr, ...]:
        """The user's name, password and domain, the current token and the one before it."""
        tokens = tuple(token.value for token in (self._token, self._spent) if token)
        return (*self._credentials.secrets(), *tokens)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add a token, buying one where needed; buy one more if it is refused."""
        async with self.gate.passage(request.url.host):
            for again in (False, True):
                bought = False
                if not self._is_being_renewed():
                    async with self._buying:
                        if self._needs_token():
                            try:
                                async with self.gate.attempt(self._iam_endpoint):
                                    answer = yield self._token_request(request)
                                    self._remember(await self._read(answer))
                            except (GeneratorExit, asyncio.CancelledError):
                                # httpx ends the flow there when no answer came, or in time.
                                self._note_no_answer()
                                raise
                            bought = True
                token = self._usable_token()
                request.headers["X-Auth-Token"] = token.value.get_secret_value()
                response = yield request
                verdict = await self.judge(response)
                if verdict is not Verdict.REFUSED:
                    return
                if again or bought:
                    # A fresh token that one project does not take says nothing of the password.
                    self._hold_back(self._refusal(request, response))
                    return
                self._forget(token)
                if request.extensions.get(DISPATCH) is not None:
                    return

    def _needs_token(self) -> bool:
        now = self._clock()
        return (self._token is None or now >= self._renew_at) and now >= self._ask_again_at

    def _is_being_renewed(self) -> bool:
        """Whether somebody else waits for IAM, and the token at hand is good meanwhile."""
        return self._buying.locked() and self._is_valid(self._token)

    def _is_valid(self, token: Token | None) -> TypeGuard[Token]:
        return token is not None and self._clock() < self._expires_at

    def note_success(self) -> None:
        """Tell the gate of a good token: the password that bought it may have changed since."""
        self.gate.worked()

    def _note_no_answer(self) -> None:
        """Leave IAM alone for a moment: the next attempt goes out with the token at hand."""
        self._ask_again_at = self._clock() + _TOKEN_PAUSE * (1 + self._jitter())
        self._failure = Failure(FailureKind.TRANSIENT, "IAM did not answer")

    def _hold_back(self, failure: Failure) -> None:
        """Ask for nothing with this user in this project for a while."""
        self._replace_token(None)
        self._failure = failure
        self._ask_again_at = self._clock() + self.gate.cooling

    def _token_request(self, request: httpx.Request) -> httpx.Request:
        extensions = {
            "timeout": request.extensions.get("timeout", {}),
            OPERATION: Operation.CREATE_TOKEN,
        }
        if TURN in request.extensions:
            extensions[TURN] = request.extensions[TURN]
        return token_request(self._credentials, self._iam_endpoint, self._project_id, extensions)

    async def _read(self, answer: httpx.Response) -> Token | Failure:
        await answer.aread()
        return read_token(answer, self._now(), self.secrets())

    def _remember(self, answer: Token | Failure) -> None:
        now = self._clock()
        if isinstance(answer, Token):
            self.tokens_bought += 1
            self._replace_token(answer)
            self._expires_at = now + answer.lifetime
            self._ask_again_at = now
            self.gate.accepted()
            # Well before the end, and not all processes at the same moment.
            self._renew_at = now + answer.lifetime * (0.8 + 0.1 * self._jitter())
            return
        if answer.kind is FailureKind.UNAUTHENTICATED:
            self._hold_back(answer)
            if answer.http_status == _WRONG_PASSWORD:
                self.gate.refused(answer)
                self._failure = self.gate.refusal()
            return
        self._failure = answer
        pause = answer.retry_after or _TOKEN_PAUSE * (1 + self._jitter())
        self._ask_again_at = now + pause

    def _usable_token(self) -> Token:
        """The token, also one that should have been renewed while IAM does not answer.

        Raises:
            CloudError: There is none; what IAM last said.
        """
        if self._is_valid(self._token):
            return self._token
        if self._failure is None:
            raise RuntimeError("a token is neither there nor refused")
        raise CloudError(self._failure)

    def _replace_token(self, token: Token | None) -> None:
        if self._token is not None:
            self._spent = self._token
        self._token = token

    def _forget(self, token: Token) -> None:
        """Do not use a refused token again; one bought meanwhile by somebody else stays."""
        if self._token is token:
            self._replace_token(None)


def auth_for(
    credentials: Credentials,
    gate: AuthenticationGate | None = None,
    *,
    project_id: str,
    iam_endpoint: str,
) -> CloudAuth:
    """Make the authentication that belongs to a kind of credentials.

    Args:
        credentials: From `parse_secret`.
        gate: Shared by all that use the same credential (its `fingerprint`), in whatever project.
        project_id: The project the calls are about.
        iam_endpoint: The origin of the region's IAM, where a password buys tokens.
    """
    if isinstance(credentials, StaticToken):
        return StaticTokenAuth(credentials, gate)
    if isinstance(credentials, AccessKey):
        return AccessKeyAuth(credentials, project_id, gate)
    return PasswordTokenAuth(credentials, project_id, iam_endpoint, gate)
