"""The HTTP server: receives calls, applies faults, answers.

It uses aiohttp's low-level server, without routing tables or middlewares: at thousands of calls a
second, the simulator must not be slower than the vendor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from http import HTTPStatus
from typing import Any

from aiohttp import web

from cse_simulator.vendor.admin_api import ADMIN_PREFIX, AdminApi
from cse_simulator.vendor.answers import Answer, GatewayRefusal, encode, gateway_error
from cse_simulator.vendor.api import VendorApi
from cse_simulator.vendor.authentication import Authenticator
from cse_simulator.vendor.calls import Call
from cse_simulator.vendor.clock import Clock, http_date
from cse_simulator.vendor.faults import ArmedFault, Fault, Faults
from cse_simulator.vendor.readers import Readers
from cse_simulator.vendor.recording import Record, Recorder
from cse_simulator.vendor.settings import Settings
from cse_simulator.vendor.upgrades import Upgrades
from cse_simulator.vendor.world import World

JSON_TYPE = "application/json;charset=UTF-8"
_GATEWAY_CODES = {401: "0301", 403: "0302", 404: "0101", 429: "0308", 500: "0601", 503: "0613"}
_MASK = (1 << 64) - 1
_UNANNOUNCED_CLOSE = 0.02


class Simulator:
    """One simulated vendor with all its parts."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or Clock(settings.clock_offset_seconds)
        self.world = World(settings, self.clock)
        self.upgrades = Upgrades(self.world)
        self.faults = Faults()
        self.recorder = Recorder(settings)
        self.authenticator = Authenticator(settings, self.clock)
        self.vendor = VendorApi(
            settings=settings,
            clock=self.clock,
            readers=Readers(self.world),
            upgrades=self.upgrades,
            authenticator=self.authenticator,
            recorder=self.recorder,
        )
        self.admin = AdminApi(
            settings=settings,
            clock=self.clock,
            world=self.world,
            upgrades=self.upgrades,
            faults=self.faults,
            authenticator=self.authenticator,
            recorder=self.recorder,
        )
        self._number = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        body = await request.read() if request.can_read_body else b""
        target = request.raw_path
        if target.startswith(ADMIN_PREFIX):
            return _response(await self.admin.handle(request.method, target, body))
        self._number += 1
        # Unique, and equal on every run; the multiplication only makes it look like an id.
        scattered = self._number * 0x9E3779B97F4A7C15 & _MASK
        request_id = f"{scattered:016x}{self._number:016x}"
        call = Call.received(request.method, target, request.headers, body, request_id)
        record = self.recorder.arrive(call, self.clock.now())
        armed = self.faults.catching(call)
        if armed is not None:
            return await self._disturbed(request, call, record, armed)
        answer = self.vendor.answer(call)
        self.recorder.conclude(record, answer.status)
        return self._vendor_response(answer, call)

    def stop(self) -> None:
        """Release all calls that hang."""
        self.faults.clear()

    def _vendor_response(self, answer: Answer, call: Call) -> web.Response:
        headers = {
            "Content-Type": JSON_TYPE,
            "X-Request-Id": call.request_id,
            "Server": "api-gateway",
        }
        if self.clock.offset_seconds:
            headers["Date"] = http_date(self.clock.now())
        headers.update(answer.headers)
        return web.Response(status=answer.status, body=answer.body, headers=headers)

    async def _disturbed(
        self, request: web.BaseRequest, call: Call, record: Record, armed: ArmedFault
    ) -> web.StreamResponse:
        fault = armed.fault
        record.fault = armed.id
        await _pause(armed, fault.delay_ms)
        token = call.headers.get("X-Auth-Token")
        if fault.token is not None and token is not None:
            self.authenticator.revoke_tokens(token, expire=fault.token == "expired")  # noqa: S105
        answer = self._effect(call, fault)
        await _pause(armed, fault.delay_answer_ms)
        if fault.hang:
            with self.recorder.hanging(record):
                await armed.released.wait()
            return _reset(request)
        if fault.reset:
            self.recorder.conclude(record, 0, "reset")
            return _reset(request)
        if fault.replace or fault.drop:
            answer = _altered(answer, fault)
        response = self._vendor_response(answer, call)
        if fault.truncate_at is not None:
            self.recorder.conclude(record, answer.status, "truncated")
            return await _truncated(request, response, fault.truncate_at)
        self.recorder.conclude(record, answer.status)
        if fault.close_unannounced and request.transport is not None:
            # Close a moment later: by then the answer is sent and the connection looks reusable.
            asyncio.get_running_loop().call_later(_UNANNOUNCED_CLOSE, request.transport.close)
        return response

    def _effect(self, call: Call, fault: Fault) -> Answer:
        answer = Answer(0, b"")
        if fault.after_effect or not fault.answers_itself:
            answer = self.vendor.answer(call)
            if fault.deliver_twice is not None:
                second = self.vendor.answer(call, forced=fault.forced)
                answer = answer if fault.deliver_twice == "first" else second
        if fault.status is not None:
            answer = self._made_up(fault, fault.status, call.request_id)
        return answer

    def _made_up(self, fault: Fault, status: int, request_id: str) -> Answer:
        headers = dict(fault.headers or {})
        if isinstance(fault.retry_after, str) and fault.retry_after.startswith("date+"):
            moment = self.clock.now() + float(fault.retry_after.removeprefix("date+"))
            headers["Retry-After"] = http_date(moment)
        elif fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        if isinstance(fault.body, str):
            headers.setdefault("Content-Type", "text/html")
            return Answer(status, fault.body.encode(), headers)
        if fault.body is not None:
            return Answer(status, encode(fault.body), headers)
        code = f"APIGW.{_GATEWAY_CODES.get(status, '0201')}"
        # The gateway also answers with statuses outside the standard, such as 494.
        known = status in {one.value for one in HTTPStatus}
        phrase = HTTPStatus(status).phrase if known else f"Status {status}"
        return gateway_error(GatewayRefusal(status, code, phrase, headers), request_id)


async def _pause(armed: ArmedFault, milliseconds: float) -> None:
    """Wait for this long, or until the rule is cleared."""
    if milliseconds:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(armed.released.wait(), milliseconds / 1000)


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": JSON_TYPE, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _altered(answer: Answer, fault: Fault) -> Answer:
    document: Any = json.loads(answer.body)
    for path, value in (fault.replace or {}).items():
        for holder, key in _places(document, path.split(".")):
            holder[key] = value
    for path in fault.drop:
        # Delete backwards, so that the indexes of the other list items stay valid.
        for holder, key in reversed(_places(document, path.split("."))):
            if isinstance(holder, list) or key in holder:
                del holder[key]
    return answer._replace(body=encode(document))


def _places(document: Any, path: list[str]) -> list[tuple[Any, Any]]:
    """Return the places that a dotted path matches, as containers and keys."""
    head, *rest = path
    keys: list[Any] = []
    if isinstance(document, list):
        keys = [key for key in range(len(document)) if head in {"*", str(key)}]
    elif isinstance(document, dict) and (head in document or not rest):
        keys = [head]
    if not rest:
        return [(document, key) for key in keys]
    return [place for key in keys for place in _places(document[key], rest)]


def _reset(request: web.BaseRequest) -> web.Response:
    transport = request.transport
    if transport is not None:
        # Lingering for zero seconds makes the kernel send RST instead of FIN.
        connection = transport.get_extra_info("socket")
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    return web.Response()


async def _truncated(
    request: web.BaseRequest, whole: web.Response, length: int
) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[:length])
    if request.transport is not None:
        request.transport.close()
    return response
