"""The command lines of etcd and kube-apiserver, as the local control plane starts them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SERVICE_ACCOUNT_KEY: Final = "service-account.key"
TOKENS: Final = "tokens.csv"
CERTIFICATES: Final = "certificates"
"""Files and a folder in the control plane's own folder."""


def etcd(binary: Path, directory: Path, port: int) -> list[str]:
    """Return etcd's command line; its data are in the control plane's folder."""
    url = f"http://127.0.0.1:{port}"
    return [
        str(binary),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",  # nothing here has to survive a power cut
        "--log-level=warn",
    ]


def api_server(binary: Path, directory: Path, etcd_port: int, port: int) -> list[str]:
    """Return kube-apiserver's command line; the server makes its certificates itself."""
    key = directory / SERVICE_ACCOUNT_KEY
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",  # else a machine without a network cannot start it
        "--endpoint-reconciler-type=none",  # others refuse a loopback address
        f"--cert-dir={directory / CERTIFICATES}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
        f"--token-auth-file={directory / TOKENS}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        # No controller creates the default service accounts that this plug-in requires.
        "--disable-admission-plugins=ServiceAccount",
    ]
