"""Requests to the API server that are not about stored objects: version, schema, reviews, tokens.

`cse_operator.kube.api_call` accepts only stored objects as answers. The API server computes the
answers here for the caller and does not store them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Literal

import aiohttp
from kubernetes.aio.client import ApiClient

from cse_operator.kube import errors
from cse_operator.kube.connection import roots_of

_SECONDS: Final = 30.0


async def ask(
    api_client: ApiClient,
    method: Literal["GET", "POST"],
    path: str,
    body: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make one request and return the JSON object in its answer.

    Args:
        api_client: The connection, from `cse_operator.kube.connection.connect`.
        method: The HTTP method.
        path: The path; it must not contain unchecked input.
        body: A review, plain JSON data.

    Raises:
        KubeError: A subclass that says what the failure means.
    """
    what = f"{method} {path}"
    roots_of(api_client).renew()
    request = await api_client.param_serialize(
        method=method,
        resource_path=path,
        header_params={"Accept": "application/json", "Content-Type": "application/json"},
        body=body,
        auth_settings=["BearerToken"],
    )
    failure: errors.KubeError
    try:
        response = await api_client.call_api(*request, _request_timeout=_SECONDS)
        content: bytes = await response.read()
        if response.status >= HTTPStatus.MULTIPLE_CHOICES:
            failure = errors.from_response(what, response.status, response.headers, content)
        else:
            answer = json.loads(content)
            if isinstance(answer, dict):
                return answer
            failure = errors.Unavailable(f"{what}: the answer is not a JSON object")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        failure = errors.from_transport(what, error)
    except ValueError:
        failure = errors.Unavailable(f"{what}: the answer is not JSON")
    # Raised outside the `except` block on purpose: the transport's error can hold the request with
    # its Authorization header, and must not become this error's context.
    raise failure
