"""Calls of kubectl, which knows the cluster, the user and the namespace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cse_operator.api.names import GROUP, PLURAL

RESOURCE: Final = f"{PLURAL}.{GROUP}"
Object = dict[str, Any]


class KubectlError(Exception):
    """kubectl could not do it; the text is what it said."""

    def __init__(self, said: str, *, answer: str = "") -> None:
        """Keep what was said, and what was answered on standard output all the same."""
        super().__init__(said)
        self.answer = answer


class Kubectl:
    """kubectl with the flags that the person gave."""

    def __init__(
        self,
        flags: Sequence[str] = (),
        *,
        namespace: str | None = None,
        everywhere: bool = False,
        program: str = "kubectl",
    ) -> None:
        """Make one.

        Args:
            flags: For each call, such as `--context=x`.
            namespace: The namespace; kubectl's own without one.
            everywhere: Whether lists are of all namespaces.
            program: The executable.
        """
        self._command = [program, *flags]
        self._namespace = namespace
        self.everywhere = everywhere

    def run(self, *arguments: str) -> str:
        """Run it and return its standard output.

        Raises:
            KubectlError: It is not there, or it failed.
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
        """Run it with `-o json` and return the answer.

        Raises:
            KubectlError: As for `run`.
        """
        answer = json.loads(self.run(*arguments, "-o", "json"))
        if not isinstance(answer, dict):
            raise KubectlError("kubectl did not answer with an object")
        return answer

    def engines(self, names: Sequence[str] = (), *, with_managers: bool = False) -> list[Object]:
        """The named resources, or all of the namespace (or of all).

        Raises:
            KubectlError: One is not there, or they cannot be read.
        """
        flags = ["--show-managed-fields"] if with_managers else []
        if self.everywhere:
            flags.append("--all-namespaces")
        answer = self.json("get", RESOURCE, *names, *flags)
        return list(answer["items"]) if "items" in answer else [answer]

    def patch(self, name: str, change: Mapping[str, Any], *, manager: str) -> Object:
        """Merge a change into a resource, and return it as it is then.

        Raises:
            KubectlError: As for `run`, also where it was changed since it was read.
        """
        merge = ["--type=merge", f"--field-manager={manager}", f"--patch={json.dumps(change)}"]
        return self.json("patch", RESOURCE, name, *merge)
