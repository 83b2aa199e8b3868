"""Keeps the temporary key of one identity in one region; one trade serves all callers."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

import httpx

from cse_operator.clock import boottime
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.transport import TURN
from cse_operator.core.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

    from cse_operator.cloud.auth.breaker import CredentialBreaker
    from cse_operator.cloud.auth.identities import KeylessIdentity, Places
    from cse_operator.cloud.auth.trades import TemporaryKey

_TOKENS_KEPT: Final = 8
"""Tokens to redact from texts: those of the last four trades, two per trade."""

_PAUSE: Final = 5.0
"""Seconds, up to twice as many, before a trade is retried that failed but was not refused."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings that all sessions share."""

    call_takes: float
    """Seconds that a key must still be valid when the operator decides on a call."""
    request_timeout: float
    """Seconds that a key must still be valid when a request is sent; also bounds a whole trade."""
    on_trade: Callable[[], None]
    """Called for each traded key."""
    under_way: set[asyncio.Task[None]]
    """The running trades, so that they can be cancelled."""
    clock: Callable[[], float] = boottime
    jitter: Callable[[], float] = random.random


@dataclass(slots=True)
class _Held:
    """A key, its expiry and its renewal time, on the steady clock."""

    key: TemporaryKey
    expires_at: float
    renew_at: float


class IdentitySession:
    """Trades a token for a key when a call needs one; concurrent callers share the trade.

    A key is renewed in the background after about three quarters of its life, while calls still use
    it. A refused identity is not tried for a while, like a refused key. Nothing is stored outside
    this process's memory.
    """

    def __init__(
        self,
        identity: KeylessIdentity,
        places: Places,
        breaker: CredentialBreaker,
        terms: Terms,
    ) -> None:
        self.identity = identity
        self._places = places
        self._breaker = breaker
        self._terms = terms
        self._held: _Held | None = None
        self._trading: asyncio.Task[None] | None = None
        self._failure: Failure | None = None
        self._ask_again_at = 0.0
        self._tokens: deque[SecretStr] = deque(maxlen=_TOKENS_KEPT)
        self._keys: deque[TemporaryKey] = deque(maxlen=2)

    @property
    def remembers(self) -> bool:
        """Whether it has a key or waits after a refusal: a new session would trade at once."""
        return self._breaker.remembers or self._lives(self._held)

    def secrets(self) -> tuple[SecretStr, ...]:
        """Return the values to redact: the recent tokens, the current key and the previous one."""
        keys = (secret for key in self._keys for secret in key.value.secrets())
        return (*keys, *self._tokens)

    def held_back(self) -> Failure | None:
        """Return why no key is available now; `None` if there is a key or a trade may be tried."""
        if self._lives(self._held):
            return None
        waits = self._clock() < self._ask_again_at
        return self._breaker.refusal() or (self._failure if waits else None)

    async def key(
        self, http: httpx.AsyncClient, *, for_a_call: bool = False
    ) -> tuple[TemporaryKey, bool]:
        """Return the key to sign with, and whether it was traded for this request.

        Args:
            http: The client for the requests of a trade.
            for_a_call: The operator has decided on a changing call and writes its intent next: the
                key must be valid until the call is sent and answered.

        Raises:
            CloudError: There is no key, or the key would expire before the call ends.
        """
        lasting = self._terms.call_takes if for_a_call else self._terms.request_timeout
        held = self._held
        if self._lives(held, lasting):
            if self._clock() >= held.renew_at and self._may_ask():
                self._trade_soon(http)
            return held.key, False
        if not self._may_ask():
            raise CloudError(self._why_none())
        # Shielded: cancelling one caller must not cancel the trade that others wait for.
        await asyncio.shield(self._trade_soon(http))
        if not self._lives(self._held, lasting):
            raise CloudError(self._why_none())
        return self._held.key, True

    def forget(self, key: TemporaryKey) -> None:
        """Drop a refused key; a key that was traded meanwhile stays."""
        if self._held is not None and self._held.key is key:
            self._held = None

    def _clock(self) -> float:
        return self._terms.clock()

    def _lives(self, held: _Held | None, lasting: float | None = None) -> TypeGuard[_Held]:
        """Whether a key stays valid for `lasting` seconds, by default for one request."""
        seconds = self._terms.request_timeout if lasting is None else lasting
        return held is not None and self._clock() + seconds < held.expires_at

    def _may_ask(self) -> bool:
        return self._clock() >= self._ask_again_at and self._breaker.refusal() is None

    def _why_none(self) -> Failure:
        failure = self._breaker.refusal() or self._failure
        if failure is None:
            raise RuntimeError("there is neither a temporary key nor a failure")
        return failure

    def _trade_soon(self, http: httpx.AsyncClient) -> asyncio.Task[None]:
        if self._trading is None or self._trading.done():
            name = f"trade a token of {self.identity}"
            self._trading = asyncio.create_task(self._trade(http), name=name)
            self._terms.under_way.add(self._trading)
            self._trading.add_done_callback(self._terms.under_way.discard)
        return self._trading

    async def _trade(self, http: httpx.AsyncClient) -> None:
        """Trade, and record the key or the failure; raise nothing."""

        async def send(request: httpx.Request) -> httpx.Response:
            request.extensions["timeout"] = http.timeout.as_dict()
            # When connections are scarce, a trade queues with the calls of its own namespace.
            request.extensions[TURN] = (Turn(namespace=self.identity.namespace), request.url.host)
            return await http.send(request)

        try:
            async with self._breaker.attempt(), asyncio.timeout(self._terms.request_timeout):
                key = await self.identity.trade(send, self._places, self._tokens)
                self._breaker.accepted()
        except CloudError as error:
            self._failed(error.failure)
        except TimeoutError:
            said = f"no answer within {self._terms.request_timeout:g} s"
            self._failed(self._no_answer(said))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            # The requests hold tokens: report only the error's type.
            self._failed(self._no_answer(type(error).__name__))
        else:
            self._take(key)

    def _no_answer(self, said: str) -> Failure:
        message = f"The token of {self.identity} could not be traded: {said}"
        return Failure(FailureKind.TRANSIENT, message)

    def _take(self, key: TemporaryKey) -> None:
        self._keys.append(key)
        now, share = self._clock(), 0.7 + 0.1 * self._terms.jitter()
        self._held = _Held(key, now + key.lifetime, now + key.lifetime * share)
        self._terms.on_trade()
        if not self._lives(self._held, self._terms.call_takes):
            sentence = f"The temporary key for {self.identity} expires before a call could end"
            self._failed(Failure(FailureKind.TRANSIENT, sentence))

    def _failed(self, failure: Failure) -> None:
        if failure.kind is FailureKind.UNAUTHENTICATED:
            self._breaker.refused(failure)
        self._failure = failure
        pause = failure.retry_after or _PAUSE * (1 + self._terms.jitter())
        self._ask_again_at = self._clock() + pause
