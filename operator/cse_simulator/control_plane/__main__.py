"""`python -m cse_simulator.control_plane ensure|run`: the control plane for shell users."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from cse_simulator.control_plane import (
    Cluster,
    ControlPlaneError,
    LocalControlPlane,
    ensure_assets,
)
from cse_simulator.control_plane.assets import report_to_stderr


def main() -> int:
    """Run one subcommand and return the exit code."""
    arguments = _parser().parse_args()
    try:
        if arguments.command == "ensure":
            print(ensure_assets().directory)
        else:
            _run(arguments)
    except ControlPlaneError as error:
        report_to_stderr(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cse_simulator.control_plane",
        description="A real Kubernetes API server (kube-apiserver and etcd) on this machine.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ensure", help="find or build the binaries, and print their folder")
    run = commands.add_parser("run", help="run until Ctrl-C or SIGTERM")
    run.add_argument("--kubeconfig", type=Path, help="write the administrator's kubeconfig here")
    run.add_argument("--crd", type=Path, action="append", default=[], help="install this CRD file")
    run.add_argument("--json", action="store_true", help="print the connection as one line of JSON")
    run.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    return parser


def _run(arguments: argparse.Namespace) -> None:
    import yaml  # noqa: PLC0415 - `ensure` runs while PyYAML is still being installed

    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    definitions = [yaml.safe_load(path.read_text()) for path in arguments.crd]
    with LocalControlPlane() as control_plane:
        cluster = control_plane.cluster
        for definition in definitions:
            cluster.install_crd(definition)
        if arguments.kubeconfig is not None:
            cluster.write_kubeconfig(arguments.kubeconfig, cluster.token)
        print(cluster.to_json() if arguments.json else _welcome(cluster), flush=True)
        if arguments.until_eof:
            threading.Thread(target=_set_at_eof, args=(ended,), daemon=True).start()
        ended.wait()


def _set_at_eof(ended: threading.Event) -> None:
    while sys.stdin.readline():
        pass
    ended.set()


def _welcome(cluster: Cluster) -> str:
    return f"Kubernetes at {cluster.url} until Ctrl-C. In another terminal:\n\n" + "\n".join(
        (
            f"    export KUBECONFIG={cluster.kubeconfig}",
            f"    {cluster.kubectl or 'kubectl'} get namespaces",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
