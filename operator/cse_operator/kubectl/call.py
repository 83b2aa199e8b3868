"""Runs kubectl, which knows the cluster, the user and the namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cse_operator.api.names import GROUP, PLURAL

RESOURCE: Final = f"{PLURAL}.{GROUP}"
Object = dict[str, Any]


class KubectlError(Exception):
    """kubectl failed; the text is its standard error."""

    def __init__(self, said: str, *, answer: str = "") -> None:
        """Keep the standard error as the text, and the standard output in `answer`."""
        super().__init__(said)
        self.answer = answer


class Kubectl:
    """kubectl with the person's flags."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        *,
        namespace: str | None = None,
        everywhere: bool = False,
        program: str = "kubectl",
    ) -> None:
        """Keep what every call has in common.

        Args:
            flags: The flags of each call, such as `--context=x`.
            namespace: The namespace; None: the one of kubectl's context.
            everywhere: Whether to list all namespaces.
            program: The executable.
        """
        self._command = [program, *flags]
        self._namespace = namespace
        self.everywhere = everywhere

    def run(self, *arguments: str) -> str:
        """Run kubectl and return its standard output.

        Raises:
            KubectlError: kubectl is not installed, or it failed.
        """
        where = [f"--namespace={self._namespace}"] if self._namespace else []
        command = [*self._command, *where, *arguments]
        try:
            result = subprocess.run(  # noqa: S603 - kubectl, and no shell
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise KubectlError(f"{self._command[0]} cannot be run: {error.strerror}") from None
        if result.returncode:
            said = result.stderr.strip() or f"kubectl ended with {result.returncode}"
            raise KubectlError(said, answer=result.stdout.strip())
        return result.stdout

    def json(self, *arguments: str) -> Object:
        """Run kubectl with `-o json` and return the answer.

        Raises:
            KubectlError: As for `run`.
        """
        answer = json.loads(self.run(*arguments, "-o", "json"))
        if not isinstance(answer, dict):
            raise KubectlError("kubectl did not answer with an object")
        return answer

    def engines(self, names: Sequence[str] = (), *, with_managers: bool = False) -> list[Object]:
        """Return the named resources; without names, all in the namespace or in all namespaces.

        Raises:
            KubectlError: A named resource does not exist, or they cannot be read.
        """
        flags = ["--show-managed-fields"] if with_managers else []
        if self.everywhere:
            flags.append("--all-namespaces")
        answer = self.json("get", RESOURCE, *names, *flags)
        return list(answer["items"]) if "items" in answer else [answer]

    def patch(self, name: str, change: Mapping[str, Any], *, manager: str) -> Object:
        """Merge a change into a resource, and return the changed resource.

        Raises:
            KubectlError: As for `run`, or `change` names an old resourceVersion.
        """
        merge = ["--type=merge", f"--field-manager={manager}", f"--patch={json.dumps(change)}"]
        return self.json("patch", RESOURCE, name, *merge)
