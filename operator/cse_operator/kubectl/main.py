"""The entry point of `kubectl cse` and of its completion."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final

from cse_operator import __version__
from cse_operator.kubectl import complete, looks, verbs
from cse_operator.kubectl.call import Kubectl, KubectlError
from cse_operator.kubectl.doctor import doctor
from cse_operator.kubectl.flags import parser, passed_on
from cse_operator.kubectl.output import Output, say

INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if PurePath(sys.argv[0]).name.startswith("kubectl_complete-"):
        return complete.main(given)
    if given[:1] == ["__complete"]:
        return complete.main(given[1:])
    top = parser(__version__)
    flags = top.parse_args(given)
    if getattr(flags, "watch", False) and flags.output != "text":
        top.error("--watch shows text: leave out -o")
    if flags.verb == "doctor" and flags.output == "name":
        top.error("doctor shows findings, not resources: it has no -o name")
    if flags.verb == "completion":
        sys.stdout.write(complete.SCRIPT)
        say("Save this as kubectl_complete-cse in a folder of your PATH, and make it executable")
        return 0
    try:
        return _run(flags)
    except KubectlError as error:
        say(str(error))
        return verbs.FAILED
    except BrokenPipeError:
        return verbs.FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(flags: argparse.Namespace) -> int:
    kubectl = Kubectl(passed_on(flags), namespace=flags.namespace, everywhere=flags.all_namespaces)
    output = Output(flags.output, flags.color)
    session = verbs.Session(
        kubectl,
        output,
        force_local=getattr(flags, "force_local", False),
        agreed=getattr(flags, "yes", False),
    )
    match flags.verb:
        case "status":
            return looks.status(
                kubectl, output, flags.names, whole=flags.verbose, watch=flags.watch
            )
        case "wait":
            return looks.wait(kubectl, output, flags.names, timeout=flags.timeout)
        case "history":
            return looks.history(kubectl, output, flags.names)
        case "doctor":
            return doctor(kubectl, output)
        case "upgrade":
            return verbs.upgrade(session, flags.name, flags.version)
        case "approve":
            return verbs.approve(session, flags.name, flags.version)
        case "retry":
            return verbs.retry(session, flags.names)
        case "refresh":
            return verbs.refresh(session, flags.names)
        case _:
            return verbs.suspend(session, flags.names, wanted=flags.verb == "suspend")
