"""The benchmark: our operator and its peers on the same work, one table.

`make bench` runs all of it (under 40 minutes on 2 cores), `make bench QUICK=1` a small part,
`make bench-guard` what CI runs, and `python benchmarks/run.py --help` shows how to run less.
docs/performance.md explains the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).resolve().parent
# The tests' way to start processes that cannot outlive this one serves here, too.
sys.path.append(str(HERE.parent / "tests"))

from harness import guard, plot, report  # noqa: E402
from harness.contestants import CAREFUL, OURS, Contestant, everyone  # noqa: E402
from harness.peers import ensure_binary  # noqa: E402
from harness.phases import Plan, measure  # noqa: E402

from cse_simulator.admin import DEFAULT_PROJECT, Simulation, start_simulator  # noqa: E402

TINY, SMALL, LARGE, HUGE = 100, 1_000, 10_000, 50_000
IN_FULL = {
    TINY: (OURS,),
    SMALL: (OURS, CAREFUL, "tuned", "default", "usual-kopf"),
    # The other two would take a quarter of an hour and some gigabytes here.
    LARGE: (OURS, CAREFUL, "tuned"),
    # Memory and start alone: how they grow.
    HUGE: (OURS,),
}
IN_BRIEF = {SMALL: (OURS, CAREFUL, "tuned", "usual-kopf")}


def main() -> int:
    """Run the benchmark and write its results."""
    options = _options()
    # What CI runs needs no peer, and so no Go.
    binary = None if options.guard else ensure_binary()
    known = everyone(binary)
    rounds = [
        (size, known[name])
        for size, names in _rounds(options).items()
        for name in names
        if name in (options.only or known)
    ]
    document: dict[str, Any] = {
        "machine": report.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "simulator_calls_per_second": _simulator_capacity(binary) if binary else None,
        "results": [],
    }
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for size, contestant in rounds:
        try:
            document["results"].append(_measured(contestant, _plan(size, options)))
        except (RuntimeError, TimeoutError) as error:
            # The others are still worth measuring.
            print(f"  {contestant.name} did not get through: {error!r}", file=sys.stderr)
            failed += 1
        _write(document, output)
    print(report.markdown(document))
    if options.guard and not failed:
        return _guarded(document["results"])
    print(f"written to {output}/results.md, results.json and bursts.svg")
    return 1 if failed else 0


def _guarded(results: list[dict[str, Any]]) -> int:
    ours = next(result for result in results if result["contestant"] == OURS)
    found = guard.broken(ours)
    for sentence in found:
        print(f"BROKEN: {sentence}")
    if found:
        print(f"all calls of the burst: {ours['burst']['kube']} {ours['burst']['cloud']}")
    if not found:
        print("every count is what it must be; times are for information only")
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--guard", action="store_true", help="fail if a count is wrong (for CI)")
    parser.add_argument("--quick", action="store_true", help="1,000 resources, in some minutes")
    parser.add_argument("--resources", type=int, help="so many resources instead")
    parser.add_argument("--only", action="append", help="only this contestant (repeatable)")
    parser.add_argument("--lone", type=int, help="so many lone changes")
    parser.add_argument("--idle", type=float, help="seconds of rest that are measured")
    parser.add_argument("--no-burst", action="store_true", help="only start, rest, lone changes")
    parser.add_argument("--output", type=Path, help="where the results go")
    options = parser.parse_args()
    if options.output is None:
        whole = not (options.quick or options.guard or options.resources or options.only)
        options.output = HERE / "results" if whole else HERE.parent / ".build" / "bench"
    return options


def _rounds(options: argparse.Namespace) -> dict[int, tuple[str, ...]]:
    if options.guard:
        return {guard.SIZE: (OURS,)}
    if options.resources:
        return {options.resources: tuple(options.only or (OURS, CAREFUL))}
    return IN_BRIEF if options.quick else IN_FULL


def _plan(size: int, options: argparse.Namespace) -> Plan:
    lone, idle = (20, 10.0) if options.quick else (50, 60.0)
    if options.guard:
        lone, idle = guard.LONE_CHANGES, guard.IDLE_SECONDS
    if size == HUGE:
        return Plan(resources=size, lone_changes=0, idle_seconds=10.0, burst=False)
    return Plan(
        resources=size,
        lone_changes=min(size, options.lone if options.lone is not None else lone),
        idle_seconds=options.idle if options.idle is not None else idle,
        burst=not options.no_burst,
    )


def _measured(contestant: Contestant, plan: Plan) -> dict[str, Any]:
    print(f"{plan.resources:,} resources, {contestant.name} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cse-bench-") as directory:
        log = Path(directory) / "log"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(measure(contestant, plan, log))
        result["warnings"] = len(log.read_text(errors="replace").splitlines())
    print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return result


def _simulator_capacity(binary: Path) -> int:
    """How many calls a second the simulator answers to a client that does nothing else."""
    with start_simulator(engines=SMALL) as simulation:
        return _load(binary, simulation, f"/{simulation.admin.engines()[0].id}")


def _load(binary: Path, simulation: Simulation, path: str) -> int:
    target = f"/v2/{DEFAULT_PROJECT}/enginemgr/engines{path}"
    command = [str(binary), "-mode=load", f"-endpoint={simulation.url}", f"-path={target}"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(answer.stdout)


def _write(document: dict[str, Any], output: Path) -> None:
    """Write after each contestant: a run that is stopped has told what it knew."""
    (output / "results.json").write_text(json.dumps(document, indent=1) + "\n")
    (output / "results.md").write_text(report.markdown(document) + "\n")
    (output / "bursts.svg").write_text(plot.bars(document["results"]))


if __name__ == "__main__":
    sys.exit(main())
