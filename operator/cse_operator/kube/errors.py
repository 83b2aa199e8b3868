"""What can go wrong between the operator and the Kubernetes API, by meaning.

::

    KubeError
     ├── Conflict      someone else changed the object first: look again
     ├── Gone          the object is no longer there
     │    ├── SecretNotFound
     │    └── ServiceAccountNotFound
     ├── Invalid       the request cannot succeed as it is: a person has to mend something
     │    └── SecretInvalid   a value in the Secret is not text
     ├── Denied        the operator's own rights or credentials do not suffice
     ├── Expired       a list took too long to page through: start it again
     ├── Unavailable   may pass by itself: retried with backoff
     └── NotConfigured there is no cluster to talk to

Everything that meets the API does so through `cse_operator.kube.api_call`, and that module
makes its errors here: no other place maps status codes or transport exceptions. An error's
text is one sentence, free of request and response headers and of Secrets' values.
"""

# ruff: noqa: N818  (named for what happened, as the API names it: `except Conflict`)

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from cse_operator.core.http_time import retry_after as seconds_to_wait

_MESSAGE_LIMIT: Final = 512


class KubeError(Exception):
    """A call to the Kubernetes API failed. Its text is a sentence for a person."""

    def __init__(
        self, sentence: str, *, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.status = status
        """HTTP status of the answer, where there was one."""
        self.retry_after = retry_after
        """Seconds the API server asked us to wait, if it did."""


class Conflict(KubeError):
    """Someone else changed the object first (409): look at it again, then decide again."""


class Gone(KubeError):
    """The object is no longer there (404)."""


class Invalid(KubeError):
    """The API server will never accept this request as it is (400, 422 and their like)."""


class SecretNotFound(Gone):
    """The Secret does not exist (yet)."""


class ServiceAccountNotFound(Gone):
    """The ServiceAccount does not exist (yet)."""


class SecretInvalid(Invalid):
    """A Secret holds a value that is not text. Names the key, never the value."""


class Denied(KubeError):
    """The operator's credentials were refused (401) or may not do this (403)."""


class Expired(KubeError):
    """A paged list took longer than the API server keeps its snapshot (410): start again."""


class Unavailable(KubeError):
    """May pass by itself: throttling, server errors, time-outs, broken connections.

    For a changing request this also means that its outcome is not known. A status write
    carries the `resourceVersion` it was decided on, so writing it again is safe: if the first
    one took effect, the second one meets a `Conflict`.
    """


class NotConfigured(KubeError):
    """There is neither a service account nor a kubeconfig to reach a cluster with."""


def from_response(
    what: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> KubeError:
    """The error that an answer of the API server means.

    Args:
        what: What was asked for, in words that start a sentence, such as
            "PATCH microserviceengines payments/orders".
        status: HTTP status of the answer, not 2xx.
        headers: Its headers, of which only `Retry-After` and `Date` are read.
        body: Its body: a `Status` object, or anything else from something in between.
        now: The time a `Retry-After` date is compared with; by default the present.
    """
    answer = _status_object(body)
    sentence = f"{what}: {_words(answer, status)}"
    return _kind(answer, status)(sentence, status=status, retry_after=seconds_to_wait(headers, now))


def from_transport(what: str, error: BaseException) -> Unavailable:
    """The error for an exchange that brought no answer at all: time-out, reset, TLS, DNS."""
    if isinstance(error, TimeoutError):
        return Unavailable(f"{what}: no answer from the API server in time")
    words = _shortened(" ".join(str(error).split())) or type(error).__name__
    return Unavailable(f"{what}: the API server cannot be reached ({words})")


def _kind(answer: Mapping[str, Any], status: int) -> type[KubeError]:
    match status:
        case HTTPStatus.CONFLICT:
            return Conflict
        case HTTPStatus.NOT_FOUND:
            # Only a Status object speaks of an object. While an API server starts, or without
            # the CRD, the path itself is unknown ("404 page not found" as plain text):
            # nothing follows from that about the object.
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
    """Take out the middle: a refused patch is quoted whole, and what is wrong stands behind it."""
    if len(words) <= _MESSAGE_LIMIT:
        return words
    half = _MESSAGE_LIMIT // 2 - 2
    return f"{words[:half]} … {words[-half:]}"


def _status_object(body: bytes) -> Mapping[str, Any]:
    """The `Status` object in a body, or nothing where the body is something else."""
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) and answer.get("kind") == "Status" else {}
