"""One call to the Kubernetes API: all requests for stored objects in this package go through it.

This module uses the lower layers of the official client (`ApiClient.update_params_for_auth` and
`ApiClient.call_api`), but builds the URL and parses the JSON itself. `CustomObjectsApi` validates
arguments that are checked here, copies the body to look for models in it, and turns the answer
into unused models, which is a third of what a status patch costs this process
(docs/performance.md). This also avoids the client's exceptions, which print headers and bodies: a
body may be a Secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from pydantic_core import from_json

from cse_operator.kube import errors
from cse_operator.kube.connection import roots_of

MERGE_PATCH: Final = "application/merge-patch+json"

DEFAULT_TIMEOUT: Final = 30.0
"""Seconds for one call, from waiting for a connection to the last byte of the answer."""

_AUTHENTICATION: Final = ("BearerToken",)

# A DNS subdomain: the form of the names of namespaces, Secrets and resources. The client quotes
# slashes but not "..", which the URL library collapses.
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)


async def call(
    api_client: ApiClient,
    method: Literal["GET", "POST", "PATCH"],
    path: str,
    *,
    names: Mapping[str, str],
    query: Sequence[tuple[str, str]] = (),
    body: Mapping[str, Any] | None = None,
    content_type: str = "application/json",
    timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109  (the transport's own, it also ends the body)
) -> dict[str, Any]:
    """Make one call and return the object in its answer.

    PUT is not supported, so that the transport never sends a change twice by itself: aiohttp
    repeats idempotent methods when a kept connection turns out to be dead, but not POST and PATCH.

    Args:
        api_client: The connection, from `cse_operator.kube.connection.connect`.
        method: The HTTP method.
        path: The path, with `{placeholders}` for the names that do not come from this code.
        names: The values of the placeholders: names of objects and namespaces.
        query: Query parameters.
        body: The object or patch to send, plain JSON data.
        content_type: The media type of the body.
        timeout: Seconds for the whole call.

    Returns:
        The answer's JSON object.

    Raises:
        KubeError: A subclass that says what the failure means.
    """
    for name in names.values():
        if not is_name(name):
            what = _describe(method, path, names)
            raise errors.Invalid(f"{what}: {name!r} is not a name an object can have")
    headers = await _headers(api_client, method, path, body, content_type)
    url = f"{api_client.configuration.host}{path.format_map(names)}"
    if query:
        url = f"{url}?{_encoded(tuple(query))}"
    failure: errors.KubeError
    try:
        response = await api_client.call_api(
            method, url, headers, body, _request_timeout=_seconds(timeout)
        )
        content: bytes = await response.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = errors.from_transport(_describe(method, path, names), error)
    else:
        succeeded = response.status < HTTPStatus.MULTIPLE_CHOICES
        if succeeded and (answer := _object(content)) is not None:
            return answer
        what = _describe(method, path, names)
        failure = (
            errors.Unavailable(f"{what}: the answer is not a Kubernetes object")
            if succeeded
            else errors.from_response(what, response.status, response.headers, content)
        )
    # Raised outside the `except` block on purpose: the transport's error can hold the request with
    # its Authorization header, and must not become this error's context.
    raise failure


async def _headers(
    api_client: ApiClient,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
    content_type: str,
) -> dict[str, str]:
    """Return the call's headers, with the current token."""
    headers: dict[str, str] = {
        **api_client.default_headers,
        "Accept": "application/json",
        "Content-Type": content_type,
    }
    roots_of(api_client).renew()
    await api_client.update_params_for_auth(headers, [], _AUTHENTICATION, path, method, body)
    return headers


def is_name(text: str) -> bool:
    """Whether a text is a valid object name, so that it may become part of a path."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=16)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    return urlencode(query)


@lru_cache(maxsize=16)
def _seconds(timeout: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=timeout)


def _describe(method: str, path: str, names: Mapping[str, str]) -> str:
    """Describe a call, such as "PATCH microserviceengines/status payments/orders"."""
    kind = "/".join(
        part
        for part in path.split("/namespaces/{namespace}/", 1)[-1].split("/")
        if not part.startswith("{")
    )
    return f"{method} {kind.removeprefix('/')} {'/'.join(names.values())}".rstrip()


def _object(content: bytes) -> dict[str, Any] | None:
    """Return the object in an answer; None if there is none."""
    try:
        answer = from_json(content, cache_strings="keys")
    except ValueError:
        return None
    metadata = answer.get("metadata") if isinstance(answer, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    # Every object and list of the API has one. Without it, a proxy in between has answered.
    return answer if isinstance(version, str) else None
