"""Lists all policies and the labels of all namespaces; both are few."""

from __future__ import annotations

from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import (
    CLUSTER_POLICY_KIND,
    CLUSTER_POLICY_PLURAL,
    GROUP,
    POLICY_KIND,
    POLICY_PLURAL,
    VERSION,
)
from cse_operator.kube import errors
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, call

_API: Final = f"/apis/{GROUP}/{VERSION}"
_NAMESPACES: Final = "/api/v1/namespaces"
_PAGE: Final = "50"
_RESTARTS: Final = 3


class PolicyReader:
    """Lists policies and namespaces.

    Args:
        api_client: The connection to the cluster.
        timeout: Seconds for one call.
    """

    def __init__(self, api_client: ApiClient, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._api_client = api_client
        self._timeout = timeout

    async def policies(self, namespace: str | None) -> list[dict[str, Any]]:
        """List the UpgradePolicies of a namespace; None lists those of all namespaces.

        Raises:
            KubeError: See `cse_operator.kube.api_call.call`.
        """
        if namespace is None:
            path, names = f"{_API}/{POLICY_PLURAL}", {}
        else:
            path, names = (
                f"{_API}/namespaces/{{namespace}}/{POLICY_PLURAL}",
                {"namespace": namespace},
            )
        items = await self._list(path, names)
        return [{**item, "kind": POLICY_KIND} for item in items]

    async def cluster_policies(self) -> list[dict[str, Any]]:
        """List all ClusterUpgradePolicies.

        Raises:
            KubeError: See `cse_operator.kube.api_call.call`.
        """
        items = await self._list(f"{_API}/{CLUSTER_POLICY_PLURAL}", {})
        return [{**item, "kind": CLUSTER_POLICY_KIND} for item in items]

    async def namespace_labels(self) -> dict[str, dict[str, str]]:
        """Return the labels of all namespaces, by namespace.

        Raises:
            KubeError: See `cse_operator.kube.api_call.call`.
        """
        items = await self._list(_NAMESPACES, {})
        return {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in items}

    async def _list(self, path: str, names: dict[str, str]) -> list[dict[str, Any]]:
        for _ in range(_RESTARTS):
            try:
                return await self._pages(path, names)
            except errors.Expired:
                continue
        raise errors.Unavailable(f"LIST {path}: the list outlived its snapshot {_RESTARTS} times")

    async def _pages(self, path: str, names: dict[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = [("limit", _PAGE), *([("continue", token)] if token else [])]
            answer = await call(
                self._api_client, "GET", path, names=names, query=query, timeout=self._timeout
            )
            items = answer.get("items")
            if not isinstance(items, list):
                raise errors.Unavailable(f"LIST {path}: the answer is not a list")
            found += items
            token = answer["metadata"].get("continue", "")
            if not token:
                return found
