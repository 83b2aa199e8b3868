"""The only writer of a resource: its status, through the status subresource, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import FIELD_MANAGER, GROUP, PLURAL, VERSION
from cse_operator.kube.api_call import DEFAULT_TIMEOUT, MERGE_PATCH, call
from cse_operator.kube.references import ObjectReference

_API: Final = f"/apis/{GROUP}/{VERSION}"

# Strict: a status field that the CRD in the cluster does not know is an error. By default it
# would be dropped without a word, and a recorded intent that is silently not recorded is the
# one thing that must not happen.
_QUERY: Final = (("fieldManager", FIELD_MANAGER), ("fieldValidation", "Strict"))


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that makes `new` out of `old`; empty if they are equal.

    Keys that are gone become null, objects are compared key by key, anything else that differs
    (lists too) is replaced. A null in `new` counts as absent: a merge patch cannot set one,
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
    """Writes the status of resources, each time only if nobody wrote in between."""

    def __init__(
        self, api_client: ApiClient, *, plural: str = PLURAL, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        """Make a writer.

        Args:
            api_client: The connection to the cluster.
            plural: The kind whose status it writes, by its plural.
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
        """Bring the status of one resource from what was seen to what it shall be.

        The `resourceVersion` in the patch is its precondition, and it is enough: the API server
        gives each change a number of its own, so the number of a deleted object is never that
        of a later one with its name. (A `metadata.uid` in the patch would add nothing: on the
        status of a custom resource the API server, 1.37 tried, puts the stored metadata back
        before it compares.)

        Args:
            reference: The resource.
            resource_version: The version of the resource that the decision was made on.
            old_status: Its status in that version.
            new_status: The status it shall have.

        Returns:
            The resource as it is now, or None where the two are equal and no call was made.

        Raises:
            Conflict: The resource has changed since (or is another one): look again.
            Gone: The resource no longer exists.
            Invalid: The status does not fit the CRD that is installed in the cluster.
            Denied: The operator lacks the right to patch the status.
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
