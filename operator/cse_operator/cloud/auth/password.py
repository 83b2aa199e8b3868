"""Authentication with a user's password, which obtains tokens from IAM."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeGuard

import httpx

from cse_operator.clock import boottime, utc_now
from cse_operator.cloud.answers import (
    OPERATION,
    Operation,
    Verdict,
    verdict_on_credentials,
)
from cse_operator.cloud.auth.breaker import CredentialBreaker
from cse_operator.cloud.auth.flows import CloudAuth, whose
from cse_operator.cloud.auth.iam import Token, read_token, token_request
from cse_operator.cloud.dispatch import DISPATCH
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.transport import TURN
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    from pydantic import SecretStr

    from cse_operator.cloud.auth.credentials import PasswordToken

_WRONG_PASSWORD = 401
_TOKEN_PAUSE = 5.0
"""Seconds until IAM is asked again after a failure that was no refusal."""


class PasswordTokenAuth(CloudAuth):
    """A user whose password obtains tokens from IAM; a token is kept until shortly before its end.

    One token serves all calls. When it is refused, a read obtains one new token and is sent once
    more. A changing call is not sent again: its caller looks at the engine first.
    """

    def __init__(
        self,
        credentials: PasswordToken,
        project_id: str,
        iam_endpoint: str,
        breaker: CredentialBreaker | None = None,
        *,
        clock: Callable[[], float] = boottime,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(breaker)
        self._credentials = credentials
        self._project_id = project_id
        self._iam_endpoint = iam_endpoint
        self._clock = clock
        self._now = now
        self._jitter = jitter
        self._renewing = asyncio.Lock()
        self._token: Token | None = None
        self._spent: Token | None = None
        self._expires_at = 0.0
        self._renew_at = 0.0
        self._failure: Failure | None = None
        self._ask_again_at = 0.0

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the user's name, password and domain, the current token and the previous one."""
        tokens = tuple(token.value for token in (self._token, self._spent) if token)
        return (*self._credentials.secrets(), *tokens)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add a token, obtained if needed; if the vendor refuses it, obtain one more for a read."""
        for again in (False, True):
            obtained = False
            if not self._is_being_renewed():
                async with self._renewing:
                    if self._needs_token():
                        try:
                            async with self.breaker.attempt(*whose(request)):
                                answer = yield self._token_request(request)
                                self._remember(await self._read(answer))
                        except (GeneratorExit, asyncio.CancelledError):
                            # httpx ends the flow here if no answer comes, or none in time.
                            self._note_no_answer()
                            raise
                        obtained = True
            token = self._usable_token()
            request.headers["X-Auth-Token"] = token.value.get_secret_value()
            response = yield request
            verdict = verdict_on_credentials(response.status_code, await response.aread())
            if verdict is not Verdict.REFUSED:
                return
            if again or obtained:
                # A fresh token that one project refuses does not mean a wrong password.
                self._hold_back(self.refusal_in(request, response))
                return
            self._forget(token)
            if request.extensions.get(DISPATCH) is not None:
                return

    def held_back(self) -> Failure | None:
        """Return why no token would be obtained now; None if one would be, or is at hand."""
        if self._is_valid(self._token):
            return None
        refused = self._failure if self._clock() < self._ask_again_at else None
        return refused or self.breaker.refusal()

    def _needs_token(self) -> bool:
        now = self._clock()
        return (self._token is None or now >= self._renew_at) and now >= self._ask_again_at

    def _is_being_renewed(self) -> bool:
        """Whether another flow waits for IAM while the current token is still valid."""
        return self._renewing.locked() and self._is_valid(self._token)

    def _is_valid(self, token: Token | None) -> TypeGuard[Token]:
        return token is not None and self._clock() < self._expires_at

    def _note_no_answer(self) -> None:
        """Ask IAM nothing for a moment; meanwhile calls use the current token."""
        self._ask_again_at = self._clock() + _TOKEN_PAUSE * (1 + self._jitter())
        self._failure = Failure(FailureKind.TRANSIENT, "IAM did not answer")

    def _hold_back(self, failure: Failure) -> None:
        """Stop all requests of this user in this project for the breaker's cool-down."""
        self._replace_token(None)
        self._failure = failure
        self._ask_again_at = self._clock() + self.breaker.cooling

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
            self.tokens_obtained += 1
            self._replace_token(answer)
            self._expires_at = now + answer.lifetime
            self._ask_again_at = now
            self.breaker.accepted()
            # Renew well before the end, and not in all processes at the same moment.
            self._renew_at = now + answer.lifetime * (0.8 + 0.1 * self._jitter())
            return
        if answer.kind is FailureKind.UNAUTHENTICATED:
            self._hold_back(answer)
            if answer.http_status == _WRONG_PASSWORD:
                self.breaker.refused(answer)
                self._failure = self.breaker.refusal()
            return
        self._failure = answer
        pause = answer.retry_after or _TOKEN_PAUSE * (1 + self._jitter())
        self._ask_again_at = now + pause

    def _usable_token(self) -> Token:
        """Return the token, also one whose renewal is due while IAM does not answer.

        Raises:
            CloudError: There is no valid token; the error is IAM's last one.
        """
        if self._is_valid(self._token):
            return self._token
        if self._failure is None:
            raise RuntimeError("there is neither a token nor a failure")
        raise CloudError(self._failure)

    def _replace_token(self, token: Token | None) -> None:
        if self._token is not None:
            self._spent = self._token
        self._token = token

    def _forget(self, token: Token) -> None:
        """Drop a refused token; a token that another flow obtained meanwhile stays."""
        if self._token is token:
            self._replace_token(None)
