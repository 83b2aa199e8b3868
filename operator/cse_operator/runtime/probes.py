"""The HTTP server of `/healthz`, `/readyz` and `/metrics`.

It lives in the same event loop as the work, so an answer is itself the proof that the loop
turns; a hung loop answers nothing, and the kubelet's probe fails by its time-out.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from cse_operator.runtime.metrics import Metrics

logger = logging.getLogger(__name__)

STUCK_AFTER: Final = 300.0
"""Seconds after which a single reconcile step counts as hung. The longest wait within a step
is a call's time-out."""

_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


@asynccontextmanager
async def serve(
    listen: str,
    *,
    metrics: Metrics,
    oldest_work: Callable[[], float],
    not_ready: Callable[[], str | None],
) -> AsyncIterator[None]:
    """Serve the probes while the context is open.

    Args:
        listen: `address:port`; without an address, all of IPv4 and IPv6 that there are.
        metrics: what `/metrics` shows.
        oldest_work: seconds the longest running reconcile step has taken so far.
        not_ready: why the operator is not ready, or None when it is.

    Raises:
        OSError: when the address cannot be listened on.
    """

    async def healthz(_request: web.Request) -> web.Response:
        seconds = oldest_work()
        if seconds > STUCK_AFTER:
            return web.Response(status=500, text=f"a step hangs for {seconds:.0f} s\n")
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = not_ready()
        return web.Response(text="ok\n") if why is None else web.Response(status=503, text=why)

    async def metrics_page(_request: web.Request) -> web.Response:
        return web.Response(
            body=metrics.render(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics_page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await _site(runner, listen).start()
        logger.info("serving /healthz, /readyz and /metrics on %s", listen)
        yield
    finally:
        await runner.cleanup()


def _site(runner: web.AppRunner, listen: str) -> web.BaseSite:
    host, _, port = listen.rpartition(":")
    if host:
        return web.TCPSite(runner, host.strip("[]"), int(port))
    return web.SockSite(runner, _on_all_addresses(int(port)))


def _on_all_addresses(port: int) -> socket.socket:
    """A socket for both families, or for IPv4 where a node has only that."""
    try:
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (ValueError, OSError) as error:  # ValueError: this system cannot do both with one
        if isinstance(error, OSError) and error.errno not in _NO_IPV6:
            raise
        return socket.create_server(("", port))
