"""The HTTP transport of the simulator's admin API: one connection per call."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

_TIMEOUT_SECONDS = 30.0


class AdminError(Exception):
    """The simulator refused an admin call; the message says why."""


class AdminTransport:
    """Makes the calls to one simulator. Safe to use from several threads."""

    def __init__(self, url: str, certificate: Path | None = None) -> None:
        """Remember where the simulator is.

        Args:
            url: The simulator's URL, with or without the path of the admin API.
            certificate: PEM file to trust if the simulator serves HTTPS.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "127.0.0.1", parts.port
        self._connect: Callable[[float], http.client.HTTPConnection]
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=certificate)
            self._connect = lambda timeout: http.client.HTTPSConnection(
                host, port, timeout=timeout, context=context
            )
        else:
            self._connect = lambda timeout: http.client.HTTPConnection(host, port, timeout=timeout)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        parameters: Mapping[str, Any] | None = None,
        patience: float = 0.0,
    ) -> Any:
        """Make a call and return its parsed JSON answer.

        Args:
            method: The HTTP method.
            path: The path below the admin API's.
            body: The content to send as JSON.
            parameters: The query parameters; those with the value None are left out.
            patience: How long the simulator may wait before it answers, in seconds.

        Raises:
            AdminError: The simulator refused the call.
        """
        given = {key: value for key, value in (parameters or {}).items() if value is not None}
        target = f"/_admin/{path}" + (f"?{urlencode(given)}" if given else "")
        connection = self._connect(patience + _TIMEOUT_SECONDS)
        try:
            connection.request(method, target, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise AdminError(f"{method} {target}: {answer.get('problem', answer)}")
        return answer
