"""The official client and kopf connect to the real API server with the same credentials."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from cse_operator.kube import connection, errors, kopf_watch
from cse_operator.kube.resource_reader import ResourceReader
from cse_simulator.control_plane import Cluster


@pytest.fixture
def pod(control_plane: Cluster, namespace: str, tmp_path: Path) -> tuple[dict[str, str], Path]:
    """The environment and the folder of a Pod with a ServiceAccount that may read engines."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "operator"}})
    roles = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rule = {
        "apiGroups": ["cse-operator.io"],
        "resources": ["microserviceengines"],
        "verbs": ["get"],
    }
    control_plane.request(
        "POST", f"{roles}/roles", {"metadata": {"name": "reader"}, "rules": [rule]}
    )
    control_plane.request(
        "POST",
        f"{roles}/rolebindings",
        {
            "metadata": {"name": "reader"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": "reader",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
        },
    )
    (tmp_path / "token").write_text(control_plane.service_account_token(namespace, "operator"))
    (tmp_path / "ca.crt").write_text(control_plane.certificate_authority)
    host, _, port = control_plane.url.removeprefix("https://").partition(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}, tmp_path


async def test_a_pods_rotated_token_is_picked_up_without_a_restart(
    control_plane: Cluster, namespace: str, pod: tuple[dict[str, str], Path]
) -> None:
    environ, folder = pod
    now = 0.0
    good = (folder / "token").read_text()
    (folder / "token").write_text("a.token.that-is-refused")
    async with await connection.connect(
        environ=environ, service_account=folder, clock=lambda: now
    ) as client:
        reader = ResourceReader(client)
        with pytest.raises(errors.Denied, match="Unauthorized"):
            await reader.get((namespace, "orders"))
        (folder / "token").write_text(good)
        now = 60.0
        assert await reader.get((namespace, "orders")) is None


async def test_kopf_gets_a_connection_that_works(
    control_plane: Cluster, namespace: str, pod: tuple[dict[str, str], Path]
) -> None:
    environ, folder = pod
    async with await connection.connect(environ=environ, service_account=folder) as client:
        connected = await kopf_watch.connection_to(client)
    path = f"/apis/cse-operator.io/v1alpha1/namespaces/{namespace}/microserviceengines/orders"
    async with (
        aiohttp.ClientSession(headers=connected.as_http_headers()) as session,
        session.get(f"{connected.server}{path}", ssl=connected.as_ssl_context()) as response,
    ):
        assert response.status == 404
        assert (await response.json())["reason"] == "NotFound"
