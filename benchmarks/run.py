"""The benchmark: our operator and its peers on the same work, one table.

`make bench` runs all rounds, `make bench QUICK=1` a small part, `make bench-guard` the part for CI.
`python benchmarks/run.py --help` shows how to run less. Each contestant has a time limit, and its
row is printed as soon as it is known. docs/performance.md explains the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).resolve().parent
# The benchmark shares the tests' helper that starts processes which die with this one.
sys.path.append(str(HERE.parent / "tests"))

from harness import guard, plot, report  # noqa: E402
from harness.contestants import OURS, Contestant, Manner, everyone  # noqa: E402
from harness.peers import ensure_binary  # noqa: E402
from harness.phases import Plan, measure  # noqa: E402
from harness.rounds import SMALL, rounds  # noqa: E402

from cse_simulator.vendor.engines import DEFAULT_PROJECT  # noqa: E402
from cse_simulator.vendor.simulation import Simulation, start_simulator  # noqa: E402

IMAGE_PYTHON = HERE.parent / "hack" / "image-python"


def main() -> int:
    """Run the benchmark and write its results."""
    options = _options()
    document: dict[str, Any] = {
        "machine": report.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "results": [],
        "given_up": [],
    }
    # The part for CI runs no peer, so it needs no Go.
    binary = None if options.guard else ensure_binary()
    known = everyone(binary)
    python, document["python"] = _python(options)
    document["simulator_calls_per_second"] = _simulator_capacity(binary) if binary else None
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, plan in rounds(options):
        if name not in (options.only or known):
            continue
        try:
            log = output / "log"
            result = _measured(known[name], plan, Manner(python, plan.limits), log)
        except (RuntimeError, TimeoutError) as error:
            # Go on with the others. A peer that is too slow is a result, too.
            failed += name == OURS or not isinstance(error, TimeoutError)
            result = _given_up(known[name], plan, error, log)
            document["given_up"].append(result)
        else:
            document["results"].append(result)
        print(report.row(result), flush=True)
        _write(document, output)
    print(report.markdown(document))
    if options.guard and not failed:
        return _guarded(document["results"])
    print(f"written to {output}/results.md, results.json and bursts.svg")
    return 1 if failed else 0


def _given_up(contestant: Contestant, plan: Plan, error: Exception, log: Path) -> dict[str, Any]:
    limits = "-with-limits" if plan.limits else ""
    kept = log.with_name(f"{contestant.name}-{plan.resources}{limits}.log")
    if log.exists():
        log.replace(kept)
    late = isinstance(error, TimeoutError)
    why = f"not done within {plan.seconds:g} s" if late else f"failed: {error}".partition("\n")[0]
    print(f"  {error!r}; the log is {kept}", file=sys.stderr, flush=True)
    return {
        "contestant": contestant.name,
        "resources": plan.resources,
        "limits": plan.limits,
        "given_up": why,
    }


def _python(options: argparse.Namespace) -> tuple[tuple[str, ...], str]:
    """Choose the Python of the Python contestants: the image's if it is available.

    Returns:
        The beginning of its command line, and its description in the results.
    """
    here = platform.python_version()
    if options.guard:
        return (sys.executable,), here
    answer = subprocess.run(
        [str(IMAGE_PYTHON), "--prepare"], check=False, stdout=subprocess.PIPE, text=True
    )
    if answer.returncode == 0:
        return (str(IMAGE_PYTHON),), f"{answer.stdout.strip()}, as in the image"
    told = f"{here}, because the image's is not available here"
    print(f"The contestants in Python run on {told}.", file=sys.stderr, flush=True)
    return (sys.executable,), told


def _guarded(results: list[dict[str, Any]]) -> int:
    ours = next(result for result in results if result["contestant"] == OURS)
    found = guard.broken(ours)
    for sentence in found:
        print(f"BROKEN: {sentence}")
    if found:
        print(f"all calls of the burst: {ours['burst']['kube']} {ours['burst']['cloud']}")
    if not found:
        print("every count is right; times are for information only")
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--guard", action="store_true", help="fail if a count is wrong (for CI)")
    parser.add_argument("--quick", action="store_true", help="1,000 resources, in some minutes")
    parser.add_argument("--resources", type=int, help="this number of resources instead")
    parser.add_argument("--only", action="append", help="only this contestant (repeatable)")
    parser.add_argument("--lone", type=int, help="number of lone changes")
    parser.add_argument("--idle", type=float, help="seconds of rest to measure")
    parser.add_argument("--no-burst", action="store_true", help="only start, rest, lone changes")
    parser.add_argument("--limits", action="store_true", help="only with the vendor's limits on")
    parser.add_argument("--seconds", type=float, help="give a contestant up after this time")
    parser.add_argument("--output", type=Path, help="where the results go")
    options = parser.parse_args()
    if options.output is None:
        whole = not any(
            (options.quick, options.guard, options.resources, options.only, options.limits)
        )
        options.output = HERE / "results" if whole else HERE.parent / ".build" / "bench"
    return options


def _measured(contestant: Contestant, plan: Plan, manner: Manner, log: Path) -> dict[str, Any]:
    limits = " with the vendor's limits" if plan.limits else ""
    print(f"{plan.resources:,} resources{limits}, {contestant.name} …", file=sys.stderr, flush=True)
    load = os.getloadavg()[0]
    begun = time.monotonic()
    log.write_bytes(b"")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(measure(contestant, plan, manner, log))
    result["warnings"] = len(log.read_text(errors="replace").splitlines())
    log.unlink()
    print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return {**result, "load_before": round(load, 1)}


def _simulator_capacity(binary: Path) -> int:
    """Return how many calls a second the simulator answers to a client that only calls it."""
    with start_simulator(engines=SMALL) as simulation:
        return _load(binary, simulation, f"/{simulation.admin.engines()[0].id}")


def _load(binary: Path, simulation: Simulation, path: str) -> int:
    target = f"/v2/{DEFAULT_PROJECT}/enginemgr/engines{path}"
    command = [str(binary), "-mode=load", f"-endpoint={simulation.url}", f"-path={target}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout)


def _write(document: dict[str, Any], output: Path) -> None:
    """Write the results after each contestant, so that a stopped run keeps them."""
    (output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (output / "results.md").write_text(report.markdown(document) + "\n")
    (output / "bursts.svg").write_text(plot.bars(document["results"]))


if __name__ == "__main__":
    sys.exit(main())
