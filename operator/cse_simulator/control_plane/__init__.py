"""A real Kubernetes API server on this machine, without containers: kube-apiserver and etcd.

For tests and the demo. There are no nodes and no controllers behind it: objects are validated,
stored, watched and authorised as in any cluster, but no Pod runs and no namespace is emptied.

`find_assets` and `ensure_assets` provide the binaries, `LocalControlPlane` runs them, and `Cluster`
tells a client how to connect. `python -m cse_simulator.control_plane` does the same from a shell.

This package imports only the standard library, so that the binaries can be built while other
packages are still being installed.
"""

from cse_simulator.control_plane.assets import Assets, ensure_assets, find_assets
from cse_simulator.control_plane.cluster import ApiError, Cluster
from cse_simulator.control_plane.errors import ControlPlaneError
from cse_simulator.control_plane.local import LocalControlPlane

__all__ = [
    "ApiError",
    "Assets",
    "Cluster",
    "ControlPlaneError",
    "LocalControlPlane",
    "ensure_assets",
    "find_assets",
]
