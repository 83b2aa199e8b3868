"""Status writes on the real API server: fenced, strict, and to the status only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient

from cse_operator.kube import connection, errors
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.kube.status_writer import StatusWriter
from cse_simulator.control_plane import ApiError, Cluster
from support.engines import create_engine, engine_path, patch_engine


@pytest.fixture
async def client(control_plane: Cluster) -> AsyncIterator[ApiClient]:
    """The operator's API client, as the administrator."""
    async with await connection.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
        yield client


def reference_to(engine: dict[str, Any]) -> ObjectReference:
    metadata = engine["metadata"]
    return ObjectReference(metadata["namespace"], metadata["name"], metadata["uid"])


def version_of(engine: dict[str, Any]) -> str:
    version: str = engine["metadata"]["resourceVersion"]
    return version


async def test_a_write_changes_status_and_nothing_else(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    old = engine["status"]
    new = {**old, "observedGeneration": 1, "phase": "Pending", "message": "looking"}
    written = await StatusWriter(client).write(reference_to(engine), version_of(engine), old, new)
    assert written is not None
    assert written["status"] == new
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert stored == written
    ours = [f for f in stored["metadata"]["managedFields"] if f["manager"] == "cse-operator"]
    assert [(f["operation"], f["subresource"]) for f in ours] == [("Update", "status")]
    assert ours[0]["fieldsV1"] == {"f:status": {}}
    for engine_metadata in (engine["metadata"], stored["metadata"]):
        for ticking in ("resourceVersion", "managedFields"):
            engine_metadata.pop(ticking)
    assert stored["metadata"] == engine["metadata"]
    assert stored["spec"] == engine["spec"]


async def test_a_key_that_is_gone_is_removed(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    writer = StatusWriter(client)
    first = {"observedGeneration": 1, "phase": "Pending", "engine": {"name": "a", "type": "CSE"}}
    written = await writer.write(reference_to(engine), version_of(engine), engine["status"], first)
    assert written is not None
    second = {"observedGeneration": 1, "engine": {"name": "a"}}
    written = await writer.write(
        reference_to(engine), version_of(written), written["status"], second
    )
    assert written is not None
    assert written["status"] == second


async def test_a_merge_patch_keeps_the_fields_that_it_does_not_name(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    writer = StatusWriter(client)
    before = {**engine["status"], "engine": {"name": "a", "type": "CSE"}, "message": "looking"}
    written = await writer.write(reference_to(engine), version_of(engine), engine["status"], before)
    assert written is not None
    after = {**before, "engine": {"name": "b", "type": "CSE"}}
    written = await writer.write(reference_to(engine), version_of(written), before, after)
    assert written is not None
    assert written["status"] == after


async def test_who_applies_one_field_of_the_status_claims_all_of_it(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    full = {**engine["status"], "message": "looking", "currentVersion": "2.3.1"}
    await StatusWriter(client).write(
        reference_to(engine), version_of(engine), engine["status"], full
    )

    def apply(**query: str) -> Any:
        manifest = {
            "apiVersion": engine["apiVersion"],
            "kind": engine["kind"],
            "metadata": {"name": "orders", "namespace": namespace},
            "status": {"observedGeneration": 1, "message": "mine"},
        }
        return control_plane.request(
            "PATCH",
            f"{engine_path(namespace, 'orders')}/status",
            manifest,
            query={"fieldManager": "somebody", **query},
            content_type="application/apply-patch+yaml",
        )

    with pytest.raises(ApiError, match="conflict") as refused:
        apply()
    assert refused.value.status == HTTPStatus.CONFLICT
    assert "currentVersion" not in apply(force="true")["status"]


async def test_an_unchanged_status_makes_no_call(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    status = engine["status"]
    nothing = await StatusWriter(client).write(
        reference_to(engine), version_of(engine), status, dict(status)
    )
    assert nothing is None
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert version_of(stored) == version_of(engine)


async def test_a_decision_on_a_stale_view_is_not_written(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    patch_engine(control_plane, "orders", {"spec": {"version": "2.5.0"}}, namespace=namespace)
    with pytest.raises(errors.Conflict, match="has been modified"):
        await StatusWriter(client).write(
            reference_to(engine), version_of(engine), {}, {"phase": "Submitting"}
        )
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert stored["status"] == engine["status"]


async def test_of_two_writers_with_one_view_exactly_one_gets_through(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    writer = StatusWriter(client)
    results = await asyncio.gather(
        *(
            writer.write(reference_to(engine), version_of(engine), {}, {"message": f"by {number}"})
            for number in range(10)
        ),
        return_exceptions=True,
    )
    written = [result for result in results if isinstance(result, dict)]
    assert len(written) == 1
    assert [type(r) for r in results if not isinstance(r, dict)] == [errors.Conflict] * 9
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert stored == written[0]


async def test_a_later_object_of_the_same_name_is_not_written_to(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    first = create_engine(control_plane, "orders", namespace=namespace)
    control_plane.request("DELETE", engine_path(namespace, "orders"))
    writer = StatusWriter(client)
    with pytest.raises(errors.Gone, match="not found"):
        await writer.write(reference_to(first), version_of(first), {}, {"phase": "Upgrading"})
    second = create_engine(control_plane, "orders", namespace=namespace)
    with pytest.raises(errors.Conflict):
        await writer.write(reference_to(first), version_of(first), {}, {"phase": "Upgrading"})
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert stored == second


async def test_a_status_that_the_crd_does_not_know_is_refused_and_not_pruned(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    writer = StatusWriter(client)
    for unknown in ({"fieldOfTomorrow": 1}, {"engine": {"fieldOfTomorrow": 1}}):
        with pytest.raises(errors.Invalid, match=r'unknown field "status.*fieldOfTomorrow"'):
            await writer.write(
                reference_to(engine), version_of(engine), {}, {"phase": "Pending", **unknown}
            )
    with pytest.raises(errors.Invalid, match="Unsupported value"):
        await writer.write(reference_to(engine), version_of(engine), {}, {"phase": "Sleeping"})
    stored = control_plane.request("GET", engine_path(namespace, "orders"))
    assert version_of(stored) == version_of(engine)


async def test_who_lacks_the_right_is_told_so(
    control_plane: Cluster, namespace: str, tmp_path: Any
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "nobody"}})
    token = control_plane.service_account_token(namespace, "nobody")
    for given, words in ((token, "cannot patch resource"), ("not-a-token", "Unauthorized")):
        kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", given)
        async with await connection.connect(kubeconfig=str(kubeconfig)) as client:
            with pytest.raises(errors.Denied, match=words):
                await StatusWriter(client).write(
                    reference_to(engine), version_of(engine), {}, {"phase": "Pending"}
                )


async def test_fifty_writes_at_once_all_arrive(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engines = [
        create_engine(control_plane, f"engine-{number}", namespace=namespace)
        for number in range(50)
    ]
    writer = StatusWriter(client)
    written = await asyncio.gather(
        *(
            writer.write(reference_to(engine), version_of(engine), {}, {"message": name})
            for engine in engines
            for name in [engine["metadata"]["name"]]
        )
    )
    for engine, result in zip(engines, written, strict=True):
        assert result is not None
        assert result["status"]["message"] == engine["metadata"]["name"]
    assert await ResourceReader(client).get((namespace, "engine-7")) == written[7]
