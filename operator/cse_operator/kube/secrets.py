"""Reads Secrets: only by `get`, never by list or watch, and never with a value in a message."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from kubernetes.aio.client import ApiClient
from pydantic import SecretStr

from cse_operator.kube import errors
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, call

TIME_TO_LIVE: Final = 30.0
"""Seconds for which a Secret stays in the cache."""

MISSING_FOR: Final = 2.0
"""Seconds for which a missing Secret is not looked for again: thousands of resources may name it,
and each looks for it every few seconds."""

_PATH: Final = "/api/v1/namespaces/{namespace}/secrets/{name}"

_KUBERNETES_OWN: Final = "kubernetes.io"
"""The domain of Kubernetes' own Secret types, or its end (kubernetes.io/service-account-token,
bootstrap.kubernetes.io/token). Otherwise a resource could name a service account's token and leak
it to the vendor."""

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class SecretContent:
    """The content of a Secret. Only `get_secret_value` shows a value.

    Each read makes a new object, so that callers can cache derived data per object.
    """

    resource_version: str
    """Changes with each change of the Secret, which distinguishes a rotated credential."""
    data: Mapping[str, SecretStr]


class SecretReader:
    """Reads each Secret at most once per `TIME_TO_LIVE`; concurrent callers share the read."""

    def __init__(
        self,
        api_client: ApiClient,
        *,
        keys: Collection[str] | None = None,
        time_to_live: float = TIME_TO_LIVE,
        clock: Callable[[], float] = time.monotonic,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """Make a reader.

        Args:
            api_client: The connection to the cluster.
            keys: The keys to keep; None keeps all. A Secret may serve other programs too: their
                values need not be text, and they do not stay in memory here.
            time_to_live: Seconds for which a Secret stays in the cache.
            clock: Seconds on the clock of the cache.
            timeout: Seconds for one call.
        """
        self._api_client = api_client
        self._keys = keys
        self._time_to_live = time_to_live
        self._clock = clock
        self._timeout = timeout
        # Both are in the order of expiry, so dropping expired entries stops at the first live one.
        self._known: dict[_Key, tuple[float, SecretContent]] = {}
        self._missing: dict[_Key, float] = {}
        self._reading: dict[_Key, asyncio.Task[SecretContent]] = {}

    async def read(self, namespace: str, name: str) -> SecretContent:
        """Read one Secret.

        A trailing line break is removed from each value: `echo` and editors add one, no credential
        of the vendor has one, and with it every signature would be wrong.

        Args:
            namespace: The Secret's namespace, which is always that of the resource.
            name: The Secret's name.

        Returns:
            The Secret's values, at most `time_to_live` seconds old.

        Raises:
            SecretNotFound: The Secret does not exist.
            SecretInvalid: A value to keep is not UTF-8 text (the message names its key), or the
                Secret's type is one of Kubernetes' own.
            Denied: The operator may not read the Secret.
            Unavailable: The Secret could not be read now.
        """
        key = (namespace, name)
        self._drop_expired()
        if key in self._known:
            return self._known[key][1]
        if key in self._missing:
            raise _not_found(namespace, name)
        task = self._reading.get(key)
        if task is None:
            task = asyncio.create_task(self._read(namespace, name))
            self._reading[key] = task
            task.add_done_callback(lambda done: self._remember(key, done))
        # Shielded: cancelling one caller must not cancel the read that others wait for.
        return await asyncio.shield(task)

    def forget(self, namespace: str, name: str) -> None:
        """Make the next call read this Secret again: drop it, and ignore a running read."""
        self._known.pop((namespace, name), None)
        self._missing.pop((namespace, name), None)
        self._reading.pop((namespace, name), None)

    def _drop_expired(self) -> None:
        now = self._clock()
        while self._known:
            key, (expires, _) = next(iter(self._known.items()))
            if expires > now:
                break
            del self._known[key]
        while self._missing:
            key, expires = next(iter(self._missing.items()))
            if expires > now:
                break
            del self._missing[key]

    def _remember(self, key: _Key, task: asyncio.Task[SecretContent]) -> None:
        # Retrieve the exception, so that asyncio does not log it if all callers were cancelled.
        failed = task.cancelled() or task.exception() is not None
        if self._reading.get(key) is not task:
            return  # forgotten while it was being read
        del self._reading[key]
        missing = not task.cancelled() and isinstance(task.exception(), errors.SecretNotFound)
        if missing:
            self._missing.pop(key, None)
            self._missing[key] = self._clock() + min(MISSING_FOR, self._time_to_live)
        if not failed:
            self._known.pop(key, None)
            self._known[key] = (self._clock() + self._time_to_live, task.result())

    async def _read(self, namespace: str, name: str) -> SecretContent:
        try:
            found = await call(
                self._api_client,
                "GET",
                _PATH,
                names={"namespace": namespace, "name": name},
                timeout=self._timeout,
            )
        except errors.Gone:
            raise _not_found(namespace, name) from None
        kind = str(found.get("type") or "")
        if f".{kind.partition('/')[0]}".endswith(f".{_KUBERNETES_OWN}"):
            raise errors.SecretInvalid(
                f"The Secret {name} in the namespace {namespace} is of the type {kind}, which is "
                "Kubernetes' own and holds nothing for the vendor; make one of the type Opaque"
            )
        return SecretContent(
            resource_version=found["metadata"]["resourceVersion"],
            data={
                key: _text(namespace, name, key, value)
                for key, value in (found.get("data") or {}).items()
                if self._keys is None or key in self._keys
            },
        )


def _not_found(namespace: str, name: str) -> errors.SecretNotFound:
    sentence = f"There is no Secret {name} in the namespace {namespace}"
    return errors.SecretNotFound(sentence, status=HTTPStatus.NOT_FOUND)


def _text(namespace: str, name: str, key: str, value: str) -> SecretStr:
    with contextlib.suppress(UnicodeDecodeError):
        return SecretStr(base64.b64decode(value).decode("utf-8").rstrip("\r\n"))
    # Raised out here, so that the decoder's error, which holds the value, is not its context.
    raise errors.SecretInvalid(
        f"The key {key} of the Secret {name} in the namespace {namespace} is not UTF-8 text"
    )
