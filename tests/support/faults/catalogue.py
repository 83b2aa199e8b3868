"""The faults of a call: the behaviours of `proxy`, their names, and the calls they apply to.

A made-up answer looks like its server's: a `Status` object from the API server, the gateway's
error from the vendor, and a page of HTML from a proxy in between.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from support.faults.proxy import (
    Answer,
    Behaviour,
    Boundary,
    Exchange,
    Request,
    Rule,
    WatchEvent,
)

STATUSES = (400, 401, 403, 404, 409, 429, 500, 502, 503, 504)
HTML = b"<html><head><title>Service Temporarily Unavailable</title></head></html>"

SHORT_DELAY = 0.6
"""Seconds; shorter than any time-out."""

LATE = 2.2
"""Seconds; longer than the operator waits for the vendor, and than its send window."""

_GATEWAY_CODES = {401: "0301", 403: "0302", 404: "0101", 429: "0308", 500: "0601", 503: "0613"}
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


# --- what kinds of calls there are ------------------------------------------------------------


def kube_call(request: Request) -> str:
    """Name a call to the API server, such as `PATCH microserviceengines/status`."""
    parts = request.path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    if not parts:
        return f"{request.method} {request.path}"
    plural, named, sub = parts[0], len(parts) > 1, parts[2:]
    if "watch=true" in request.query:
        return f"WATCH {plural}"
    if request.method == "GET" and not named:
        return f"LIST {plural}"
    return f"{request.method} {'/'.join([plural, *sub])}"


def cloud_call(request: Request) -> str:
    """Name a call to the vendor, such as `PUT upgrade`."""
    parts = request.path.strip("/").split("/")
    if parts[-1] == "tokens":
        return f"{request.method} token"
    if len(parts) > 2 and parts[-2] == "jobs":
        return f"{request.method} job"
    if parts[-1] == "engines":
        return f"{request.method} engines"
    return f"{request.method} engine" if parts[-2] == "engines" else f"{request.method} {parts[-1]}"


def changes(boundary: Boundary) -> bool:
    """Return whether a call has an effect: losing it before or after the effect differs."""
    return boundary.call.split(" ", 1)[0] in {"PUT", "POST", "PATCH"}


# --- deaths -----------------------------------------------------------------------------------


async def killed_before(exchange: Exchange) -> None:
    """Kill the operator; the call never arrives."""
    await exchange.kill()


async def killed_after(exchange: Exchange) -> None:
    """Let the call take effect, and kill the operator before the answer."""
    await exchange.ask()
    await exchange.kill()


async def killed_after_event(event: Exchange) -> None:
    """Kill the operator right after the event arrives."""
    await event.pass_on()
    await event.kill()


# --- other interruptions of the operator ------------------------------------------------------


async def told_to_stop(exchange: Exchange) -> None:
    """Send the operator SIGTERM during the call, as in a rolling update."""
    exchange.proxy.client.signal(signal.SIGTERM)
    await exchange.pass_on()


def paused(seconds_of_successor: float) -> Behaviour:
    """Pause the operator during the call, and resume it when another operator leads.

    The call takes effect, and its answer waits in the paused operator's socket.

    Args:
        seconds_of_successor: Seconds from the new leader's first vendor call to the resumption.
    """

    async def behave(exchange: Exchange) -> None:
        operator, traffic = exchange.proxy.client, exchange.traffic
        operator.signal(signal.SIGSTOP)
        try:
            await exchange.pass_on()
            await traffic.until(lambda: traffic.count("cloud of standby"))
            await asyncio.sleep(seconds_of_successor)
        finally:
            operator.signal(signal.SIGCONT)
        traffic.touch()

    return behave


# --- faults of any call -----------------------------------------------------------------------


def delayed(seconds: float) -> Behaviour:
    """Delay the call on its way to the server."""

    async def behave(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.pass_on()

    return behave


def answered_late(seconds: float) -> Behaviour:
    """Let the call take effect at once, and delay its answer."""

    async def behave(exchange: Exchange) -> None:
        answer = await exchange.ask()
        await asyncio.sleep(seconds)
        await exchange.tell(answer)

    return behave


async def dropped_before(exchange: Exchange) -> None:
    """Reset the connection before the call takes effect."""
    exchange.hang_up()


async def dropped_after(exchange: Exchange) -> None:
    """Reset the connection after the call took effect."""
    await exchange.ask()
    exchange.hang_up()


async def twice_first(exchange: Exchange) -> None:
    """Send the call twice, and return the first answer."""
    first = await exchange.ask()
    await exchange.ask()
    await exchange.tell(first)


async def twice_second(exchange: Exchange) -> None:
    """Send the call twice, and return the second answer."""
    await exchange.ask()
    await exchange.tell(await exchange.ask())


def answered(answer: Answer, *, after: bool = False) -> Behaviour:
    """Give another answer, instead of the call or after its effect."""

    async def behave(exchange: Exchange) -> None:
        if after:
            await exchange.ask()
        await exchange.tell(answer)

    return behave


async def truncated(exchange: Exchange) -> None:
    """Send half of the answer's body, then hang up."""
    answer = await exchange.ask()
    await exchange.tell(answer, only=len(answer.body) // 2)


async def as_html(exchange: Exchange) -> None:
    """Replace the answer by an HTML page with status 200, after the effect."""
    await exchange.ask()
    await exchange.tell(Answer.of(200, HTML, "text/html"))


def as_json(document: Any) -> Behaviour:
    """Replace the answer's body by another document, after the effect."""

    async def behave(exchange: Exchange) -> None:
        answer = await exchange.ask()
        body = json.dumps(document).encode()
        await exchange.tell(Answer(answer.status, answer.headers, body))

    return behave


async def of_wrong_types(exchange: Exchange) -> None:
    """Replace each value in the answer by one of another type, after the effect."""
    answer = await exchange.ask()
    body = json.dumps(_mangled(json.loads(answer.body))).encode()
    await exchange.tell(Answer(answer.status, answer.headers, body))


def _mangled(value: Any) -> Any:
    match value:
        case dict():
            return {key: _mangled(inner) for key, inner in value.items()}
        case list():
            return {"items": "none"}
        case str():
            return [1]
        case _:
            return {"of": "another type"}


# --- the answers of the two servers -----------------------------------------------------------


def kube_answer(status: int) -> Answer:
    """Return the answer of kube-apiserver, or of its load balancer, for a status."""
    if status == HTTPStatus.BAD_GATEWAY:
        return Answer.of(status, HTML, "text/html")
    extra = {"Retry_After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
    return Answer.of(status, json.dumps(kube_status(status)).encode(), "application/json", **extra)


def kube_status(code: int) -> dict[str, Any]:
    """Return a `Status` object, as the API server sends it in answers and in watches."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"made up for a test: {code}",
        "reason": _REASONS.get(code, "Unknown"),
        "code": code,
    }


def cloud_answer(status: int) -> Answer:
    """Return the answer of the vendor's gateway for a status."""
    body = {
        "error_code": f"APIGW.{_GATEWAY_CODES.get(status, '0201')}",
        "error_msg": f"made up for a test: {status}",
        "request_id": "0123456789abcdef",
    }
    extra = {"Retry_After": "1"} if status == HTTPStatus.TOO_MANY_REQUESTS else {}
    return Answer.of(status, json.dumps(body).encode(), "application/json", **extra)


def faults_of(boundary: Boundary) -> Iterator[tuple[str, Behaviour]]:
    """Yield all faults of a call except the operator's death."""
    answer_of = kube_answer if boundary.side == "kube" else cloud_answer
    yield "delayed", delayed(SHORT_DELAY)
    yield "arrives late", delayed(LATE)
    yield "dropped before", dropped_before
    yield "dropped after", dropped_after
    yield "sent twice", twice_second
    for status in STATUSES:
        yield f"answered {status}", answered(answer_of(status))
    yield "answered by a proxy", answered(Answer.of(404, HTML, "text/html"))
    yield "truncated", truncated
    yield "HTML", as_html
    yield "null", as_json(None)
    yield "a list", as_json([])
    yield "an empty object", as_json({})
    yield "wrong types", of_wrong_types
    if changes(boundary):
        yield "answered late", answered_late(LATE)
        yield "sent twice, first answer", twice_first
        for status in STATUSES:
            yield f"done, answered {status}", answered(answer_of(status), after=True)
        yield "done, answered by a proxy", answered(Answer.of(404, HTML, "text/html"), after=True)


# --- faults of a watch ------------------------------------------------------------------------


async def cut_before(event: Exchange) -> None:
    """Reset the stream before the event."""
    event.hang_up()


async def cut_after(event: Exchange) -> None:
    """Reset the stream right after the event."""
    await event.pass_on()
    event.hang_up()


async def silent(event: Exchange) -> None:
    """Keep the stream open, but send nothing more."""
    await asyncio.Event().wait()


def watch_error(code: int) -> Behaviour:
    """End the watch with an event of type ERROR instead of this event."""

    async def behave(event: Exchange) -> None:
        assert isinstance(event, WatchEvent)
        error = {"type": "ERROR", "object": kube_status(code)}
        await event.send(json.dumps(error).encode() + b"\n")
        await event.end()

    return behave


async def event_of_nothing(event: Exchange) -> None:
    """Send a line that is not an event."""
    assert isinstance(event, WatchEvent)
    await event.send(b"<html>\n")
    await event.end()


async def event_twice(event: Exchange) -> None:
    """Send the event twice."""
    await event.pass_on()
    await event.pass_on()


def relisted_as_of(number: int) -> Behaviour:
    """End the watch with 410; the next lists show the state after `number` of its events."""

    async def behave(event: Exchange) -> None:
        lists = "LIST microserviceengines"
        records, rules = event.traffic.records, event.traffic.rules
        side = event.proxy.side
        lines = [r.line for r in records if r.line and r.boundary.side == side][:number]
        objects = [json.loads(line)["object"] for line in lines[-1:]]
        since = dict(parse_qsl(event.request.query))["resourceVersion"]
        version = objects[0]["metadata"]["resourceVersion"] if objects else since
        old = {
            "apiVersion": "cse-operator.io/v1alpha1",
            "kind": "MicroserviceEngineList",
            "metadata": {"resourceVersion": version},
            "items": objects,
        }
        answer = Answer.of(200, json.dumps(old).encode(), "application/json")
        # Two lists follow: the watch lists again, and so does the operator's reread.
        nth = event.traffic.count(side, lists)
        rules += [Rule(Boundary(side, lists, nth + n), answered(answer)) for n in (1, 2)]
        await watch_error(410)(event)

    return behave


def faults_of_event() -> Iterator[tuple[str, Behaviour]]:
    """Yield all faults of a watch event except the operator's death."""
    yield "held up", delayed(LATE)
    yield "twice", event_twice
    yield "cut before", cut_before
    yield "cut after", cut_after
    yield "silent", silent
    for code in (410, 429, 500):
        yield f"ERROR {code}", watch_error(code)
    yield "no event", event_of_nothing
    yield "410, then a list from before", relisted_as_of(0)
    yield "410, then the first list", relisted_as_of(1)
