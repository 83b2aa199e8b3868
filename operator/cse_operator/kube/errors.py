"""The errors between the operator and the Kubernetes API, by meaning.

::

    KubeError
     ├── Conflict      another client changed the object first: reread it
     ├── Gone          the object is no longer there
     │    ├── SecretNotFound
     │    └── ServiceAccountNotFound
     ├── Invalid       the request can never succeed unchanged: a person has to fix it
     │    └── SecretInvalid   a value in the Secret is not text, or its type is Kubernetes' own
     ├── Denied        the operator's credentials or permissions do not suffice
     ├── Expired       a list took too long to page through: start it again
     ├── Unavailable   may pass by itself: retried with backoff
     └── NotConfigured there is no cluster to talk to

`cse_operator.kube.api_call` and `questions` make their errors here: no other module maps status
codes or transport exceptions. An error's text is one sentence, without request or response headers
and without values of Secrets.
"""

# ruff: noqa: N818  (named like the API's own reasons, so that `except Conflict` reads well)

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from cse_operator.core.http_time import retry_after as seconds_to_wait

_MESSAGE_LIMIT: Final = 512


class KubeError(Exception):
    """A call to the Kubernetes API failed. The text is one sentence for a person."""

    def __init__(
        self, sentence: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        """HTTP status of the answer, if there was one."""
        self.retry_after = retry_after
        """Seconds that the API server asked to wait, if it did."""


class Conflict(KubeError):
    """Another client changed the object first (409): reread it, then decide again."""


class Gone(KubeError):
    """The object is no longer there (404)."""


class Invalid(KubeError):
    """The API server will never accept this request unchanged (400, 422 and similar)."""


class SecretNotFound(Gone):
    """The Secret does not exist (yet)."""


class ServiceAccountNotFound(Gone):
    """The ServiceAccount does not exist (yet)."""


class SecretInvalid(Invalid):
    """A Secret holds a value that is not text, or has a type of Kubernetes' own.

    The message names the key, never the value.
    """


class Denied(KubeError):
    """The API server refused the operator's credentials (401) or denied permission (403)."""


class Expired(KubeError):
    """A paged list took longer than the API server keeps its snapshot (410): start again."""


class Unavailable(KubeError):
    """The failure may pass by itself: throttling, server errors, time-outs, broken connections.

    The outcome of a changing request is then unknown. A status write carries the
    `resourceVersion` that its decision was based on, so writing again is safe: if the first write
    took effect, the second gets a `Conflict`.
    """


class NotConfigured(KubeError):
    """There is neither a service account nor a kubeconfig to reach a cluster with."""


def from_response(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> KubeError:
    """Return the error for an answer of the API server.

    Args:
        what: The request, as the start of a sentence, such as
            "PATCH microserviceengines payments/orders".
        status: HTTP status of the answer, not 2xx.
        headers: The answer's headers; only `Retry-After` and `Date` are read.
        body: The answer's body: a `Status` object, or anything else from a proxy in between.
        now: The time to compare a `Retry-After` date with; by default the current time.
    """
    answer = _status_object(body)
    sentence = f"{what}: {_words(answer, status)}"
    return _kind(answer, status)(sentence, status=status, retry_after=seconds_to_wait(headers, now))


def from_transport(what: str, error: BaseException) -> Unavailable:
    """Return the error for a request that got no answer: time-out, reset, TLS, DNS."""
    if isinstance(error, TimeoutError):
        return Unavailable(f"{what}: no answer from the API server in time")
    words = _shortened(" ".join(str(error).split())) or type(error).__name__
    return Unavailable(f"{what}: the API server cannot be reached ({words})")


def _kind(answer: Mapping[str, Any], status: int) -> type[KubeError]:
    match status:
        case HTTPStatus.CONFLICT:
            return Conflict
        case HTTPStatus.NOT_FOUND:
            # Only a Status object says that the object is missing. While an API server starts, or
            # without the CRD, the path itself is unknown ("404 page not found" as plain text),
            # which says nothing about the object.
            return Gone if answer.get("reason") == "NotFound" else Unavailable
        case HTTPStatus.GONE:
            return Expired
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return Denied
        case HTTPStatus.REQUEST_TIMEOUT | HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable
        case _ if HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Invalid
        case _:
            return Unavailable


def _words(answer: Mapping[str, Any], status: int) -> str:
    message = answer.get("message")
    if isinstance(message, str) and message:
        return _shortened(" ".join(message.split()))
    if status == HTTPStatus.NOT_FOUND:
        return "HTTP 404, the API server does not know this path (is the CRD installed?)"
    return f"HTTP {status}"


def _shortened(words: str) -> str:
    """Cut out the middle: the server quotes a refused patch whole and puts the reason after it."""
    if len(words) <= _MESSAGE_LIMIT:
        return words
    half = _MESSAGE_LIMIT // 2 - 2
    return f"{words[:half]} … {words[-half:]}"


def _status_object(body: bytes) -> Mapping[str, Any]:
    """Return the `Status` object in a body; empty if the body is not one."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}
