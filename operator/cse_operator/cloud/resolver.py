"""Resolves the names of endpoints: in threads of its own, fairly, and to public addresses only.

The loop's own resolver has two threads (libuv's), so that a few names whose servers do not answer
keep all others from being resolved. Here each look-up under way has a thread, and a namespace
that names hundreds of made-up regions takes half of them at most.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from cse_operator.clock import boottime
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Callable

    LookUp = Callable[..., list[tuple[Any, ...]]]

LOOKUPS: Final = 32
"""Look-ups under way at once."""
MISS_REMEMBERED: Final = 10.0
"""Seconds for which a name that did not resolve is not looked up again."""
MOST_MISSES: Final = 1024
"""Names that did not resolve and are remembered."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA_SERVICES = frozenset({ipaddress.ip_address("fd00:ec2::254")})
"""Those that are not link-local (Amazon EC2, Instance metadata, IPv6)."""

current_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)
"""For whom the call is made that needs a name."""


class NameResolver(AbstractResolver):
    """Resolves names for all clients of a process.

    Unless local addresses are allowed, a name never leads to this machine or its link-local
    neighbours: the metadata service of clouds answers there.
    """

    def __init__(
        self,
        *,
        allow_local_addresses: bool = False,
        local_names: frozenset[str] = frozenset(),
        look_up: LookUp = socket.getaddrinfo,
        clock: Callable[[], float] = boottime,
    ) -> None:
        """Remember nothing yet.

        Args:
            allow_local_addresses: Let names lead to loopback and link-local addresses.
            local_names: Names that may lead there all the same, such as a proxy's.
            look_up: What asks the system; it may block.
            clock: Seconds on a steady clock.
        """
        self._allow_local_addresses = allow_local_addresses
        self._local_names = local_names
        self._look_up = look_up
        self._clock = clock
        self._slots = Slots(LOOKUPS)
        self._misses: dict[str, tuple[float, str]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Find the addresses of a name; aiohttp asks once for all calls that wait for it.

        Raises:
            OSError: It does not resolve, or did not a moment ago, or leads to local addresses only.
        """
        until, words = self._misses.get(host, (0.0, ""))
        if self._clock() < until:
            raise OSError(None, words)
        self._misses.pop(host, None)
        try:
            return self._allowed(host, await self._look_up_in_thread(host, port, family))
        except OSError as error:
            if len(self._misses) >= MOST_MISSES:
                del self._misses[next(iter(self._misses))]
            words = error.strerror or str(error)
            self._misses[host] = (self._clock() + MISS_REMEMBERED, words)
            raise

    async def close(self) -> None:
        """Nothing to close: look-ups under way end by themselves."""

    async def _look_up_in_thread(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        turn = current_turn.get() or Turn()
        await self._slots.take(turn, host)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def end(found: list[ResolveResult] | OSError) -> None:
            # The thread held the slot, however long ago its caller went away.
            self._slots.give_back(turn, host)
            if answer.cancelled():
                return
            if isinstance(found, OSError):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def run() -> None:
            found = self._asked(host, port, family)
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(end, found)

        # Daemons: the end of the process does not wait for a server that does not answer.
        threading.Thread(target=run, name="resolve", daemon=True).start()
        return await answer

    def _asked(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult] | OSError:
        try:
            found = self._look_up(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        except OSError as error:
            return error
        except UnicodeError:
            return OSError(None, "this cannot be a host's name")
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    def _allowed(self, host: str, found: list[ResolveResult]) -> list[ResolveResult]:
        if self._allow_local_addresses or host in self._local_names:
            return found
        public = [result for result in found if not is_local_address(result["host"])]
        if not public:
            raise OSError(None, f"{host} resolves only to loopback or link-local addresses")
        return public


def is_local_address(text: str) -> bool:
    """Whether an IP address is this machine's own, link-local, or no place to connect to."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address.sixtofour or _behind_nat64(address) or address
    return (
        address in _METADATA_SERVICES
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    )


def _behind_nat64(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a translator would connect to, or `None` (RFC 6052, section 2.1)."""
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None
