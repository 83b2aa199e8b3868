"""The connection to a cluster, and the few calls by which tests and the demo set it up.

All other code uses a Kubernetes client library with the kubeconfig.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from cse_simulator.control_plane.errors import ControlPlaneError

FIELD_MANAGER = "local-control-plane"
REQUEST_SECONDS = 30.0


class ApiError(ControlPlaneError):
    """The API server refused a request."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Cluster:
    """An API server's URL and CA certificate, and an administrator's credentials."""

    url: str
    certificate_authority: str
    """In PEM."""
    token: str
    """Of an administrator (group system:masters)."""
    kubeconfig: Path
    """For that administrator; the context is called `local`."""
    kubectl: Path | None
    directory: Path
    """The control plane's folder, with the servers' logs; removed when the control plane ends."""

    @classmethod
    def from_json(cls, text: str) -> Cluster:
        """Read the output of `to_json`, for example from another process."""
        values = json.loads(text)
        return cls(
            url=values["url"],
            certificate_authority=values["certificateAuthority"],
            token=values["token"],
            kubeconfig=Path(values["kubeconfig"]),
            kubectl=Path(values["kubectl"]) if values["kubectl"] else None,
            directory=Path(values["directory"]),
        )

    def to_json(self) -> str:
        """Return all fields as one line of JSON."""
        return json.dumps(
            {
                "url": self.url,
                "certificateAuthority": self.certificate_authority,
                "token": self.token,
                "kubeconfig": str(self.kubeconfig),
                "kubectl": str(self.kubectl) if self.kubectl else None,
                "directory": str(self.directory),
            }
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.certificate_authority)

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        token: str | None = None,
    ) -> Any:
        """Send one request and return the parsed answer (a `str` when it is not JSON).

        Args:
            method: Such as GET.
            path: Starting with `/api` or `/apis`.
            body: Sent as JSON, which is also valid YAML for a server-side apply.
            query: The query's parameters.
            content_type: Of the body; a PATCH needs one of the patch types.
            token: A token to use instead of the administrator's.

        Raises:
            ApiError: The server answered with a status of 400 or higher.
            OSError: The server cannot be reached.
        """
        address = urlsplit(self.url)
        connection = http.client.HTTPSConnection(
            address.hostname or "", address.port, timeout=REQUEST_SECONDS, context=self._tls
        )
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept": "application/json"}
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = content_type
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, target, payload, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        parsed = _parsed(text, response.headers.get_content_type())
        if response.status >= http.HTTPStatus.BAD_REQUEST:
            details = parsed if isinstance(parsed, dict) else {"message": text}
            raise ApiError(response.status, details.get("reason", ""), details.get("message", ""))
        return parsed

    def apply(self, path: str, manifest: Mapping[str, Any]) -> Any:
        """Apply a manifest server-side and force conflicts; `path` names the object.

        Raises:
            ApiError: The server refused the manifest.
        """
        return self.request(
            "PATCH",
            path,
            manifest,
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            content_type="application/apply-patch+yaml",
        )

    def install_crd(self, manifest: Mapping[str, Any], *, timeout: float = 60.0) -> None:
        """Apply a CustomResourceDefinition and wait until its resources can be used.

        Args:
            manifest: The whole object.
            timeout: In seconds.

        Raises:
            ApiError: The server refused the manifest.
            ControlPlaneError: The CRD was not established in time; the message has its conditions.
        """
        definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        path = f"{definitions}/{manifest['metadata']['name']}"
        self.apply(path, manifest)
        deadline = time.monotonic() + timeout
        while True:
            status = self.request("GET", path).get("status", {})
            conditions = status.get("conditions") or []  # null until a controller sets it
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                break
            if time.monotonic() > deadline:
                raise ControlPlaneError(f"{path} is not established: {conditions}")
            time.sleep(0.05)
        self._await_served(manifest, deadline)

    def _await_served(self, manifest: Mapping[str, Any], deadline: float) -> None:
        """Wait until each version and its schema are served, which is shortly after Established."""
        group, plural = manifest["spec"]["group"], manifest["spec"]["names"]["plural"]
        for version in manifest["spec"]["versions"]:
            if version["served"]:
                served = f"apis/{group}/{version['name']}"
                self._await_found(f"/{served}/{plural}?limit=1", deadline)
                self._await_found(f"/openapi/v3/{served}", deadline)

    def _await_found(self, path: str, deadline: float) -> None:
        while True:
            try:
                self.request("GET", path)
                break
            except ApiError as error:
                if error.status != http.HTTPStatus.NOT_FOUND or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Create a namespace.

        Raises:
            ApiError: The namespace exists already, or the name is not allowed.
        """
        manifest = {"metadata": {"name": name, "labels": dict(labels or {})}}
        self.request("POST", "/api/v1/namespaces", manifest)

    def delete_namespace(self, name: str, collections: Sequence[str] = ()) -> None:
        """Delete a namespace at once, because no namespace controller runs here.

        Args:
            name: The namespace.
            collections: The resources to delete in it, such as `api/v1/secrets` or
                `apis/cse-operator.io/v1alpha1/microserviceengines`. Other resources stay in
                etcd, out of reach.

        Raises:
            ApiError: The server refused the deletion.
        """
        for collection in collections:
            base, _, plural = collection.rpartition("/")
            self.request("DELETE", f"/{base}/namespaces/{name}/{plural}")
        path = f"/api/v1/namespaces/{name}"
        self.request("DELETE", path)
        emptied = {"metadata": {"name": name}, "spec": {"finalizers": []}}
        self.request("PUT", f"{path}/finalize", emptied)

    def service_account_token(self, namespace: str, name: str, lifetime: int = 3600) -> str:
        """Return a token of an existing ServiceAccount, valid for `lifetime` seconds (≥ 600).

        Raises:
            ApiError: There is no such account.
        """
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {"spec": {"expirationSeconds": lifetime}},
        )
        return str(answer["status"]["token"])

    def write_kubeconfig(self, path: Path, token: str, namespace: str = "default") -> Path:
        """Write a kubeconfig with this token, readable by this user only."""
        authority = base64.b64encode(self.certificate_authority.encode()).decode()
        server = {"server": self.url, "certificate-authority-data": authority}
        context = {"cluster": "local", "user": "local", "namespace": namespace}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "local",
            "clusters": [{"name": "local", "cluster": server}],
            "users": [{"name": "local", "user": {"token": token}}],
            "contexts": [{"name": "local", "context": context}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(document))  # JSON is YAML, and needs no further package
        return path


def _parsed(text: str, content_type: str) -> Any:
    return json.loads(text) if content_type == "application/json" else text
