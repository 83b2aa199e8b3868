"""The pages: `/healthz` and `/readyz` for the kubelet, `/metrics` for Prometheus.

They share the event loop with the work, so an answer proves that the loop turns. A hung loop
answers nothing, and the kubelet's probe fails by its time-out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from cse_operator.runtime.http_server import ServingCertificate, listening
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.metrics_access import PATH, MetricsAccess

logger = logging.getLogger(__name__)

STUCK_AFTER: Final = 300.0
"""Seconds after which a single reconcile step counts as hung. The longest wait within a step is the
time-out of a call."""

Page = Callable[[web.BaseRequest], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Places:
    """The addresses of the pages, and who may read the metrics."""

    listen: str
    """`address:port` of the metrics; without an address, all IPv4 and IPv6 addresses."""
    probes: str = ""
    """`address:port` of the probes; if empty, they share the port of the metrics."""
    certificate: ServingCertificate | None = None
    """Serves the metrics over TLS with it."""
    access: MetricsAccess | None = None
    """Who may read the metrics; None means everybody."""


@asynccontextmanager
async def serve(
    places: Places,
    *,
    metrics: Metrics,
    oldest_work: Callable[[], float],
    not_ready: Callable[[], str | None],
) -> AsyncIterator[None]:
    """Serve probes and metrics while the context is open.

    Args:
        places: the addresses, and who may read the metrics.
        metrics: makes the page `/metrics`.
        oldest_work: seconds that the longest-running reconcile step has taken so far.
        not_ready: why the operator is not ready; None if it is.

    Raises:
        OSError: An address cannot be listened on.
    """

    async def metrics_page(request: web.BaseRequest) -> web.Response:
        if places.access is not None:
            refusal = await places.access.refusal(request.headers.get("Authorization"))
            if refusal is not None:
                return web.Response(status=refusal, text=f"{refusal.phrase}\n")
        return web.Response(
            body=await metrics.page(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    probes: dict[str, Page] = {"/healthz": _healthz(oldest_work), "/readyz": _readyz(not_ready)}
    shown: dict[str, Page] = {PATH: metrics_page}
    async with AsyncExitStack() as stack:
        if places.probes:
            await stack.enter_async_context(listening(places.probes, _pages(probes)))
            logger.info("serving %s on %s", " and ".join(probes), places.probes)
        else:
            shown = {**probes, **shown}
        if places.listen:
            certificate = places.certificate
            await stack.enter_async_context(listening(places.listen, _pages(shown), certificate))
            how = "" if certificate is None else " over TLS"
            logger.info("serving %s on %s%s", ", ".join(shown), places.listen, how)
        yield


def _healthz(oldest_work: Callable[[], float]) -> Page:
    async def answer(_request: web.BaseRequest) -> web.Response:
        seconds = oldest_work()
        if seconds > STUCK_AFTER:
            return web.Response(status=500, text=f"a step hangs for {seconds:.0f} s\n")
        return web.Response(text="ok\n")

    return answer


def _readyz(not_ready: Callable[[], str | None]) -> Page:
    async def answer(_request: web.BaseRequest) -> web.Response:
        why = not_ready()
        return web.Response(text="ok\n") if why is None else web.Response(status=503, text=why)

    return answer


def _pages(pages: dict[str, Page]) -> Page:
    async def answer(request: web.BaseRequest) -> web.Response:
        page = pages.get(request.path)
        if page is None:
            response = web.Response(status=HTTPStatus.NOT_FOUND)
        elif request.method not in {"GET", "HEAD"}:
            response = web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            response = await page(request)
        response.force_close()  # frees the connection for other clients
        return response

    return answer
