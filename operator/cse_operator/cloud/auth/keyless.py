"""How a call proves who makes it where no key is stored: by the key of an identity's session."""

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
    """Signs each request with the temporary key that the session keeps.

    When a key is refused that was traded earlier, a read is made once more with a new one. A
    changing call is not: whoever made it looks at the engine first.
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
        """Make one.

        Args:
            session: Shared by all projects of the identity in a region.
            http: Where to send the requests of a trade.
            project_id: The project the calls are about.
            breaker: For refusals of the key in this project.
            now: The time of day, which is signed.
        """
        super().__init__(breaker)
        self._session = session
        self._http = http
        self._project_id = project_id
        self._now = now

    def secrets(self) -> tuple[SecretStr, ...]:
        """The session's keys, and the tokens that they were traded for."""
        return self._session.secrets()

    def held_back(self) -> Failure | None:
        """Why no call would be sent now: the project's refusal, or the identity's."""
        return self.breaker.refusal() or self._session.held_back()

    async def prepare(self) -> None:
        """Have a key that outlives a call which is begun now.

        Raises:
            CloudError: There is none.
        """
        await self._session.key(self._http, for_a_call=True)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Sign the request; sign it once more with a new key if that one is refused."""
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
