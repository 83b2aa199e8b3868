"""The only writer of resources; it writes only the status, through the status subresource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import FIELD_MANAGER, GROUP, PLURAL, VERSION
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, MERGE_PATCH, call
from cse_operator.kube.references import ObjectReference

_API: Final = f"/apis/{GROUP}/{VERSION}"

# Strict: a status field that the cluster's CRD does not know is an error. By default the API server
# would drop it silently, and an intent must never be lost silently.
_QUERY: Final = (("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict"))


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) from `old` to `new`; empty if they are equal.

    Removed keys become null, objects are compared key by key, and any other value that differs
    (also a list) is replaced. A null in `new` counts as absent: a merge patch cannot set one,
    and Kubernetes does not store one.
    """
    patch: dict[str, Any] = {
        key: None for key in old if new.get(key) is None and old[key] is not None
    }
    for key, value in new.items():
        before = old.get(key)
        if value is None or (before == value and key in old):
            continue
        if isinstance(value, Mapping):
            patch[key] = merge_patch(before if isinstance(before, Mapping) else {}, value)
        else:
            patch[key] = value
    return patch


class StatusWriter:
    """Writes the status of resources, only if no other client wrote in between."""

    def __init__(
        self, api_client: ApiClient, *, plural: str = PLURAL, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Make a writer.

        Args:
            api_client: The connection to the cluster.
            plural: The plural of the kind to write.
            timeout: Seconds for one write.
        """
        self._plural = plural
        self._api_client = api_client
        self._timeout = timeout

    async def write(
        self,
        reference: ObjectReference,
        resource_version: str,
        old_status: Mapping[str, Any],
        new_status: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Patch the status of one resource from `old_status` to `new_status`.

        The `resourceVersion` in the patch is the precondition, and it suffices: each change gets
        its own number, so a deleted object and a later object of the same name never share one. (A
        `metadata.uid` in the patch would add nothing: for the status of a custom resource, the API
        server (tried with 1.37) restores the stored metadata before it compares.)

        Args:
            reference: The resource.
            resource_version: The resource's version that the decision was based on.
            old_status: The status in that version.
            new_status: The new status.

        Returns:
            The resource after the write, or None if both are equal and no call was made.

        Raises:
            Conflict: The resource has changed since, or was replaced: reread it.
            Gone: The resource no longer exists.
            Invalid: The status does not fit the CRD in the cluster.
            Denied: The operator may not patch the status.
            Unavailable: The outcome is not known; writing again is safe.
        """
        patch = merge_patch(old_status, new_status)
        if not patch:
            return None
        of_cluster = not reference.namespace
        scope = _API if of_cluster else f"{_API}/namespaces/{{namespace}}"
        names = {} if of_cluster else {"namespace": reference.namespace}
        return await call(
            self._api_client,
            "PATCH",
            f"{scope}/{self._plural}/{{name}}/status",
            names={**names, "name": reference.name},
            query=_QUERY,
            body={"metadata": {"resourceVersion": resource_version}, "status": patch},
            content_type=MERGE_PATCH,
            timeout=self._timeout,
        )
