"""Reads resources without the watch: the current state of one, or all of them page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import GROUP, PLURAL, VERSION
from cse_operator.kube import errors
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, call
from cse_operator.kube.references import ObjectReference

_ALL: Final = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
_IN_NAMESPACE: Final = f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{PLURAL}"
_ONE: Final = f"{_IN_NAMESPACE}/{{name}}"

_RESTARTS: Final = 3
"""How often a list that outlived its snapshot is started again before it fails."""


class ResourceReader:
    """Reads `MicroserviceEngine` resources as plain JSON data."""

    def __init__(
        self, api_client: ApiClient, *, page_size: int = 100, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Make a reader.

        Args:
            api_client: The connection to the cluster.
            page_size: The most resources per page of a list.
            timeout: Seconds for one call.
        """
        self._api_client = api_client
        self._page_size = page_size
        self._timeout = timeout

    async def get(self, reference: ObjectReference | tuple[str, str]) -> dict[str, Any] | None:
        """Read one resource from the API server, not from a cache.

        Args:
            reference: The resource, or its namespace and name.

        Returns:
            The resource; None if it does not exist, or if the object of that name has another uid.

        Raises:
            KubeError: All but `Gone`, see `cse_operator.kube.api_call.call`.
        """
        namespace, name = (
            reference
            if isinstance(reference, tuple)
            else (
                reference.namespace,
                reference.name,
            )
        )
        try:
            found = await call(
                self._api_client,
                "GET",
                _ONE,
                names={"namespace": namespace, "name": name},
                timeout=self._timeout,
            )
        except errors.Gone:
            return None
        if isinstance(reference, ObjectReference) and found["metadata"]["uid"] != reference.uid:
            return None
        return found

    async def list_pages(self, namespaces: Sequence[str]) -> AsyncIterator[list[dict[str, Any]]]:
        """List all resources in pages, so that memory never holds ten thousand of them at once.

        Args:
            namespaces: The namespaces to read; none means all of the cluster.

        Yields:
            The resources of one page. If the API server drops its snapshot in the middle, the list
            starts again: a resource can then come twice, but none is missed.

        Raises:
            KubeError: See `cse_operator.kube.api_call.call`.
        """
        for namespace in dict.fromkeys(namespaces) if namespaces else (None,):
            async for page in self._list_one(namespace):
                yield page

    async def _list_one(self, namespace: str | None) -> AsyncIterator[list[dict[str, Any]]]:
        restarts = 0
        continue_token = ""
        while True:
            try:
                answer = await self._page(namespace, continue_token)
            except errors.Expired:
                restarts += 1
                if restarts > _RESTARTS:
                    raise
                continue_token = ""
                continue
            items = answer.get("items")
            if not isinstance(items, list):
                raise errors.Unavailable(f"LIST {PLURAL}: the answer is not a list")
            yield items
            continue_token = answer["metadata"].get("continue", "")
            if not continue_token:
                return

    async def _page(self, namespace: str | None, continue_token: str) -> dict[str, Any]:
        query = [("limit", str(self._page_size))]
        if continue_token:
            query.append(("continue", continue_token))
        return await call(
            self._api_client,
            "GET",
            _ALL if namespace is None else _IN_NAMESPACE,
            names={} if namespace is None else {"namespace": namespace},
            query=query,
            timeout=self._timeout,
        )
