"""Authenticates calls without a stored key: with the temporary key of an identity's session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cse_operator.clock import utc_now
from cse_operator.cloud.answers import Verdict, verdict_on_credentials
from cse_operator.cloud.auth.flows import CloudAuth, is_clocks_fault, whose
from cse_operator.cloud.auth.signing import sign_request
from cse_operator.cloud.dispatch import DISPATCH

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime

    import httpx
    from pydantic import SecretStr

    from cse_operator.cloud.auth.breaker import CredentialBreaker
    from cse_operator.cloud.auth.sessions import IdentitySession
    from cse_operator.core.failure import Failure


class KeylessAuth(CloudAuth):
    """Signs each request with the session's temporary key.

    If the vendor refuses a key that was traded for an earlier request, a read is sent once more
    with a new key. A changing call is not: the operator looks at the engine first.
    """

    def __init__(
        self,
        session: IdentitySession,
        http: httpx.AsyncClient,
        project_id: str,
        breaker: CredentialBreaker,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Make the authentication of one project.

        Args:
            session: The session that all projects of the identity in a region share.
            http: The client for the requests of a trade.
            project_id: The project of the calls.
            breaker: The breaker for refusals in this project.
            now: Returns the current time, which is signed.
        """
        super().__init__(breaker)
        self._session = session
        self._http = http
        self._project_id = project_id
        self._now = now

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the session's keys, and the tokens that were traded for them."""
        return self._session.secrets()

    def held_back(self) -> Failure | None:
        """Return why no call would be sent now: the project's refusal, or the identity's."""
        return self.breaker.refusal() or self._session.held_back()

    async def prepare(self) -> None:
        """Get a key that stays valid until a call that begins now has ended.

        Raises:
            CloudError: There is no such key.
        """
        await self._session.key(self._http, for_a_call=True)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign the request; if a read's older key is refused, sign again with a new one."""
        for again in (False, True):
            key, fresh = await self._session.key(self._http)
            async with self.breaker.attempt(*whose(request)):
                sign_request(request, key.value, self._project_id, self._now())
                response = yield request
                verdict = verdict_on_credentials(response.status_code, await response.aread())
                if verdict is Verdict.ACCEPTED:
                    self.breaker.accepted()
                if verdict is not Verdict.REFUSED:
                    return
                refusal = self.refusal_in(request, response)
                by_clock = is_clocks_fault(refusal)
                if again or fresh or by_clock:
                    self.breaker.refused(refusal, clock_at_fault=by_clock)
                    return
            self._session.forget(key)
            if request.extensions.get(DISPATCH) is not None:
                return
