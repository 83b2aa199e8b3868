"""The sessions by which kopf watches: what is known already does not get as far as kopf.

Three of four changes of a resource in an upgrade are the operator's own writes, and of most of
them it has read the answer before the watch brings them once more. For each event kopf reads the
JSON in Python, keeps a queue and a task for the object and looks for its handlers: many times
what it takes to see here that the event is no news (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, cast

import aiohttp
import kopf
from kubernetes.aio.client import ApiClient
from pydantic_core import from_json

from cse_operator.api.names import PLURAL
from cse_operator.kube.login import kopf_login

IsKnown = Callable[[Mapping[str, Any]], bool]
"""Whether a resource, as the API server gave it, brings nothing."""

_PATH: Final = f"/{PLURAL}"


class WatchLogin:
    """Logs kopf in, for its `@kopf.on.login` handler.

    Args:
        api_client: The way into the cluster.
        is_known: Of a change to what is known, kopf is not told.
    """

    def __init__(self, api_client: ApiClient, is_known: IsKnown) -> None:
        self._api_client = api_client
        self._is_known = is_known
        self._connection: kopf.ConnectionInfo | None = None
        self._session: kopf.AiohttpSession | None = None

    async def __call__(self) -> kopf.AiohttpSession:
        """A session, which kopf closes; the same one for as long as the way in is the same.

        By that kopf knows what was refused, and does not try it again.
        """
        connection = await kopf_login(self._api_client)
        if self._session is None or connection != self._connection:
            self._session = self._session_of(connection)
            self._connection = connection
        return self._session

    def _session_of(self, connection: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=connection.as_ssl_context()),
            headers=connection.as_http_headers(),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=connection.proxy_url,
            trust_env=connection.trust_env,
            middlewares=(self._keep_news,),
        )
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    async def _keep_news(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        watches = request.url.path.endswith(_PATH) and request.url.query.get("watch") == "true"
        if watches and response.ok:
            response.content = cast(
                "aiohttp.StreamReader", NewsOnly(response.content, self._is_known)
            )
        return response


class NewsOnly:
    """The content of a watch, without the changes to what is known.

    Args:
        content: All of it.
        is_known: Which changes to leave out.
    """

    def __init__(self, content: aiohttp.StreamReader, is_known: IsKnown) -> None:
        self._content = content
        self._is_known = is_known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """What kopf reads by: whole lines, and at the end what follows the last of them."""
        rest = b""
        async for data in self._content.iter_chunked(size):
            *lines, rest = (rest + data).split(b"\n")
            if news := [line for line in lines if not self._is_old(line)]:
                yield b"\n".join([*news, b""])
        if rest:
            yield rest

    def _is_old(self, line: bytes) -> bool:
        try:
            event = from_json(line, cache_strings="keys")
            return bool(event["type"] == "MODIFIED" and self._is_known(event["object"]))
        except (ValueError, TypeError, KeyError):
            return False  # kopf is the one to say what is wrong with it
