"""Completion in the form that kubectl asks of its plug-ins, and its script for users of krew."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from cse_operator.kubectl.call import RESOURCE, Kubectl, KubectlError
from cse_operator.kubectl.flags import VERBS, options_of

NO_FILES: Final = ":4"
"""Cobra's directive: propose no file names."""

SCRIPT: Final = """\
#!/bin/sh
exec kubectl cse __complete "$@"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one candidate per line with its meaning, and the directive last."""
    words = list(sys.argv[1:] if arguments is None else arguments) or [""]
    for candidate, meaning in candidates(words):
        sys.stdout.write(f"{candidate}\t{meaning}\n" if meaning else f"{candidate}\n")
    sys.stdout.write(f"{NO_FILES}\n")
    return 0


def candidates(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return what may complete the last of the words, with its meaning."""
    *before, begun = words
    verb = next((word for word in before if word in VERBS), None)
    if begun.startswith("-"):
        found = [(name, meaning) for name, meaning in options_of(verb)]
    elif verb is None:
        found = [(name, meaning) for name, (meaning, _) in VERBS.items()]
    elif verb == "completion":
        found = [("kubectl", "the script kubectl_complete-cse")]
    elif VERBS[verb][1]:
        found = [(name, "") for name in _names(before)]
    else:
        found = []
    return [(name, meaning) for name, meaning in found if name.startswith(begun)]


def _names(words: Sequence[str]) -> list[str]:
    """Return the names of the resources in the namespace that the words name; none on an error."""
    flags = []
    for place, word in enumerate(words):
        if word in {"-n", "--namespace", "--context", "--kubeconfig"} and place + 1 < len(words):
            flags += [word, words[place + 1]]
        elif word.startswith(("--namespace=", "--context=", "--kubeconfig=")):
            flags.append(word)
    try:
        listed = Kubectl(flags).run("get", RESOURCE, "-o", "name")
    except KubectlError:
        return []  # a shell that completes cannot show an error
    return [line.partition("/")[2] for line in listed.split()]
