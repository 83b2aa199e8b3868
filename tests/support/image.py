"""A container of the image, run without a container engine under the conditions of a Pod.

A Pod of `deploy/base` runs as user 65532, as process 1 of its own process tree, with a read-only
root, without capabilities and without a way to regain them, and finds its service account's token
in a file. The kernel provides all of this, so `unshare` and `chroot` are enough here.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from support import processes

SERVICE_ACCOUNT = "run/secrets/kubernetes.io/serviceaccount"
USER = 65532

# The arguments: the root, a folder with the token, and a command of this machine. Only this process
# and its children see the mounts, which end with them.
_SETUP = f"""
set -eu
root=$1 account=$2
shift 2
mount --bind "$root" "$root"
mount --bind "$account" "$root/{SERVICE_ACCOUNT}"
mount -o remount,bind,ro "$root/{SERVICE_ACCOUNT}"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null random urandom zero; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -o remount,ro "$root/dev"
exec "$@"
"""


def _program(name: str) -> str:
    path = shutil.which(name)
    assert path is not None, f"these tests need {name}"
    return path


class Image:
    """The image that `make image-test` built, with a private file system."""

    def __init__(self, folder: Path) -> None:
        """Create a container's file system from the image; `close` removes it."""
        assert "IMAGE_TEST_IMAGE" in os.environ, "run these tests by `make image-test`"
        name = os.environ["IMAGE_TEST_IMAGE"]
        self._folder = folder
        self.config: dict[str, Any] = json.loads(self._buildah("inspect", "--type=image", name))[
            "OCIv1"
        ]["config"]
        self._container = self._buildah("from", "--pull-never", name)
        self.root = Path(self._buildah("mount", self._container))
        (self.root / SERVICE_ACCOUNT).mkdir(parents=True)

    def close(self) -> None:
        """Remove the container's file system."""
        self._buildah("rm", self._container)

    @staticmethod
    def _buildah(*arguments: str) -> str:
        command = [*shlex.split(os.environ["IMAGE_TEST_BUILDAH"]), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def files(self) -> dict[str, Path]:
        """Return all files except links, by path in the image."""
        return {
            f"/{path.relative_to(self.root)}": path
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }

    def command(
        self, command: Sequence[str], environment: Mapping[str, str], account: Path
    ) -> list[str]:
        """Return the command line that runs a command in a container of this image."""
        inside = dict(entry.split("=", 1) for entry in self.config["Env"])
        variables = [f"{name}={value}" for name, value in {**inside, **environment}.items()]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        setup = ["sh", "-c", _SETUP, "sh", str(self.root), str(account)]
        # The directory and the user are the image's; HOME and PATH come from its variables.
        assert self.config["WorkingDir"] == "/"
        # The image has no other programs, so programs of this machine enter it.
        enter = [_program("env"), "-i", *variables, _program("setpriv"), "--no-new-privs"]
        enter += [_program("chroot"), f"--userspec={USER}:{USER}", str(self.root)]
        return [*unshare, *setup, *enter, *command]

    def run(self, *arguments: str, as_entrypoint: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in a new container and return its result.

        Args:
            arguments: The arguments of the entrypoint, or a whole command.
            as_entrypoint: Whether to run the image's entrypoint.
        """
        command = [*self.config["Entrypoint"], *arguments] if as_entrypoint else list(arguments)
        return subprocess.run(
            self.command(command, {}, self._folder),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


class Container:
    """A started container; a test can inspect, signal and wait for its process 1."""

    def __init__(
        self, image: Image, environment: Mapping[str, str], account: Path, log: Path
    ) -> None:
        """Start the image's default command; `account` has the files of the service account."""
        command = [*image.config["Entrypoint"], *image.config["Cmd"]]
        self.log = log
        self._outside = processes.start(
            ["/usr/bin/env", *image.command(command, environment, account)], log, os.environ
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._outside.poll() is None:
            # Its death would not end its child, which has changed its user since.
            with suppress(ValueError, OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._outside.kill()
            self._outside.wait()

    @property
    def pid(self) -> int:
        """The process id of the container's process 1, as this machine sees it."""
        outside = self._outside.pid
        [child] = Path(f"/proc/{outside}/task/{outside}/children").read_text().split()
        return int(child)

    def status(self) -> dict[str, str]:
        """Return the kernel's status of the container's process 1 (proc_pid_status(5))."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def mounts(self) -> dict[str, list[str]]:
        """Return the options of the container's mounts by mount point (proc_pid_mountinfo(5))."""
        lines = Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()
        return {line.split()[4]: line.split()[5].split(",") for line in lines}

    def is_running(self) -> bool:
        """Return whether the container still runs."""
        return self._outside.poll() is None

    def terminate(self, grace: float) -> int:
        """Send SIGTERM to process 1 as the kubelet does, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: The container still runs after the grace period.
        """
        os.kill(self.pid, signal.SIGTERM)
        return self._outside.wait(grace)

    def output(self) -> str:
        """Return the container's output so far."""
        return self.log.read_text(errors="replace")
