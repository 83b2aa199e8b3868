"""Resolves the names of endpoints: in its own threads, fairly, and to public addresses only.

The event loop's resolver has two threads (libuv's), so a few names whose DNS servers do not answer
would block all others. Here each look-up has its own thread, and a namespace with hundreds of
made-up regions takes at most half of them.
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
"""Look-ups at once."""
MISS_REMEMBERED: Final = 10.0
"""Seconds for which a name that did not resolve is not looked up again."""
MOST_MISSES: Final = 1024
"""How many names that did not resolve are remembered."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA_SERVICES = frozenset({ipaddress.ip_address("fd00:ec2::254")})
"""Metadata services that are not link-local (Amazon EC2, Instance metadata, IPv6)."""

current_turn: ContextVar[Turn | None] = ContextVar("turn", default=None)
"""The turn of the call that needs a name resolved."""


class NameResolver(AbstractResolver):
    """Resolves names for all clients of a process.

    Unless local addresses are allowed, a name never resolves to a loopback or link-local address,
    where the metadata services of clouds answer.
    """

    def __init__(
        self,
        *,
        allow_local_addresses: bool = False,
        local_names: frozenset[str] = frozenset(),
        look_up: LookUp = socket.getaddrinfo,
        clock: Callable[[], float] = boottime,
    ) -> None:
        """Make a resolver.

        Args:
            allow_local_addresses: Let names resolve to loopback and link-local addresses.
            local_names: Names that may always resolve to them, such as a proxy's.
            look_up: Asks the system; it may block.
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
            OSError: The name does not resolve, failed to resolve within the last `MISS_REMEMBERED`
                seconds, or resolves only to local addresses.
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
        """Do nothing: running look-ups end by themselves."""

    async def _look_up_in_thread(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        turn = current_turn.get() or Turn()
        await self._slots.take(turn, host)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[ResolveResult]] = loop.create_future()

        def end(found: list[ResolveResult] | OSError) -> None:
            # The thread holds the slot until it ends, even if its caller was cancelled long ago.
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

        # A daemon, so that the process can end while a DNS server does not answer.
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
    """Whether an IP address is loopback, link-local, a metadata service, or not connectable."""
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
    """Return the IPv4 address that a NAT64 translator would connect to (RFC 6052, section 2.1)."""
    return ipaddress.IPv4Address(address.packed[-4:]) if address in _NAT64 else None
