"""The results as one Markdown page with tables, ratios and budgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from harness.contestants import CAREFUL, OURS

Result = dict[str, Any]

SMALLEST_BUDGET = 1_000
"""Budgets apply from this number of resources: with fewer, one-time costs weigh too much."""

MANY = 10_000
_OBJECT = "microserviceengines"
_WRITES = ("POST", "PUT", "PATCH", "APPLY", "DELETE")


def status_writes(phase: Result) -> int:
    """Return the number of writes of the status subresource."""
    return _sum(phase["kube"], lambda call: call.endswith(f" {_OBJECT}/status"))


def other_object_writes(phase: Result) -> int:
    """Return the number of writes of the resource itself: annotations, finalizers and so on."""
    return _sum(phase["kube"], lambda call: _is_write(call) and call.endswith(f" {_OBJECT}"))


def api_writes(phase: Result) -> int:
    """Return the number of writes to the API server, Events included."""
    return _sum(phase["kube"], _is_write)


def events(phase: Result) -> int:
    """Return the number of Events that were posted or repeated."""
    return _sum(phase["kube"], lambda call: _is_write(call) and call.endswith(" events"))


def cloud_calls(phase: Result) -> int:
    """Return the number of calls to the vendor."""
    return sum(phase["cloud"].values())


def row(result: Result) -> str:
    """Return the results of one contestant in a line."""
    name = f"{result['contestant']}, {result['resources']:,}"
    name += ", with limits" if result["limits"] else ""
    if "given_up" in result:
        return f"{name}: {result['given_up']}"
    start, burst, lone = result["start"], result.get("burst"), result.get("lone")
    told = [f"ready {start['ready_seconds']:.1f} s, at rest {start['rest_rss_mib']:.0f} MiB"]
    if lone:
        told.append(f"a lone change to the PUT {lone['milliseconds']['put']['p50']:.1f} ms")
    if burst:
        told.append(
            f"burst {burst['seconds']:.1f} s, CPU {burst['cpu']['contestant']:.1f} s, "
            f"{burst['cloud'].get('Upgrade', 0):,} PUTs, {burst['throttled']:,} of "
            f"{cloud_calls(burst):,} calls throttled, {status_writes(burst):,} status writes, "
            f"{burst['peak_rss_mib']:.0f} MiB"
        )
    return f"{name}: {'; '.join(told)}; load before {result['load_before']}"


def markdown(document: Result) -> str:
    """Return the whole page."""
    results: list[Result] = document["results"]
    intro = (
        f"{document['machine']}, {document['date']}; the operators in Python run on Python "
        f"{document['python']}. Jobs take 3 s (0.5 s for lone changes); running jobs are polled "
        "every second. CPU is that of the operator's process alone. Compare times only within this "
        "page, and best as ratios: the API server, etcd, the simulator and the load share the "
        "machine with the operators. Peers have the CRD that kubebuilder generates by default; "
        "`-our-crd` are the same peers on our CRD, whose status is an atomic map. No time includes "
        "the grace at our start, in which no upgrade begins.\n"
    )
    parts = ["# Results\n", intro]
    for limits, size in sorted({(result["limits"], result["resources"]) for result in results}):
        of_size = _alike(results, size, limits=limits)
        told = (
            ", the vendor limiting each API to 200 calls a second, jobs of 60 s, polls every 5 s"
            if limits
            else ""
        )
        parts.append(f"## {size:,} resources{told}\n")
        parts += [_burst_table(of_size), _calls_table(of_size), _lone_table(of_size)]
        parts += [_rest_table(of_size), _ratio_table(of_size)]
    parts += [_given_up(document), _growth(results), _budget_table(results), _simulator(document)]
    return "\n".join(part for part in parts if part)


def _alike(results: list[Result], size: int, *, limits: bool) -> list[Result]:
    return [r for r in results if r["resources"] == size and r["limits"] == limits]


def _given_up(document: Result) -> str:
    lines = [f"- {row(result)}" for result in document["given_up"]]
    return "\n".join(["## Given up\n", *lines, ""]) if lines else ""


def _burst_table(results: list[Result]) -> str:
    rows = [
        (
            result["contestant"],
            f"{burst['seconds']:.1f}",
            f"{burst['cpu']['contestant']:.1f}",
            f"{burst['cpu']['contestant'] / result['resources'] * 1000:.2f}",
            f"{burst['peak_rss_mib']:.0f}",
            f"{burst['rest_rss_mib']:.0f}",
            burst["upgrades_accepted"],
            burst["upgraded_twice"],
            f"{result['load_before']:.1f}",
        )
        for result, burst in _with(results, "burst")
    ]
    head = ("all changed at once", "done, s", "CPU, s", "CPU per upgrade, ms", "peak MiB")
    return _table((*head, "MiB after", "upgrades", "engines twice", "load before"), rows)


def _calls_table(results: list[Result]) -> str:
    rows = []
    for result, burst in _with(results, "burst"):
        count, cloud = result["resources"], burst["cloud"]
        rows.append(
            (
                result["contestant"],
                cloud.get("Upgrade", 0),
                cloud.get("ShowEngine", 0),
                cloud.get("ShowEngineJob", 0),
                burst["throttled"],
                f"{status_writes(burst) / count:.2f}",
                f"{other_object_writes(burst) / count:.2f}",
                f"{events(burst) / count:.2f}",
            )
        )
    head = ("calls in that burst", "PUT", "ShowEngine", "ShowEngineJob", "of them 429")
    each = ("status writes per upgrade", "other object writes", "Events")
    return _table((*head, *each), rows)


def _lone_table(results: list[Result]) -> str:
    rows = []
    for result, lone in _with(results, "lone"):
        spreads = lone["milliseconds"]
        cells = (
            " / ".join(f"{spreads[what][p]:.1f}" for p in ("p50", "p95", "p99"))
            for what in ("put", "job", "result")
        )
        rows.append((result["contestant"], *cells, f"{result['status_write_ms']:.1f}"))
    if not rows:
        return ""
    head = ("a lone change, ms (p50 / p95 / p99)", "to the PUT", "to the job in the status")
    return _table((*head, "to the result", "the write of an intent alone"), rows)


def _rest_table(results: list[Result]) -> str:
    rows = []
    for result in results:
        start, idle = result["start"], result["idle"]
        rows.append(
            (
                result["contestant"],
                f"{start['ready_seconds']:.1f}",
                f"{start['seconds']:.1f}",
                f"{start['contestant_cpu']:.1f}",
                f"{start['peak_rss_mib']:.0f}",
                f"{start['rest_rss_mib']:.0f}",
                cloud_calls(start),
                api_writes(start),
                f"{idle['seconds']:.0f} s: {api_writes(idle)}, {cloud_calls(idle)}",
                f"{idle['cpu']['contestant']:.2f}",
            )
        )
    head = ("start with all at rest", "ready, s", "settled, s", "CPU, s", "peak MiB", "MiB at rest")
    tail = ("cloud calls", "API writes", "idle: API writes, cloud calls", "idle CPU, s")
    return _table((*head, *tail), rows)


def _ratio_table(results: list[Result]) -> str:
    careful = _one(results, CAREFUL)
    if careful is None:
        return ""
    rows = [
        (
            result["contestant"],
            *(_ratio(figure(result), figure(careful)) for figure in _FIGURES.values()),
        )
        for result in results
        if "burst" in result
    ]
    return _table((f"as a multiple of `{CAREFUL}`", *_FIGURES), rows)


_FIGURES: dict[str, Callable[[Result], float]] = {
    "done": lambda r: float(r["burst"]["seconds"]),
    "CPU": lambda r: float(r["burst"]["cpu"]["contestant"]),
    "peak memory": lambda r: float(r["burst"]["peak_rss_mib"]),
    "memory at rest": lambda r: float(r["start"]["rest_rss_mib"]),
    "cloud calls": lambda r: float(cloud_calls(r["burst"])),
    "API writes": lambda r: float(api_writes(r["burst"])),
    "start, CPU": lambda r: float(r["start"]["contestant_cpu"]),
}


def budgets(results: list[Result]) -> list[tuple[str, str, str, bool]]:
    """Return each budget's name, limit and measured value, and whether it was kept."""
    found: list[tuple[str, str, str, bool]] = []

    def judge(what: str, limit: float, measured: float, unit: str = "") -> None:
        told = f"{measured:.2f}".rstrip("0").rstrip(".")
        found.append((what, f"≤ {limit:g}{unit}", f"{told}{unit}", measured <= limit))

    for limits, size in sorted({(result["limits"], result["resources"]) for result in results}):
        of_size = _alike(results, size, limits=limits)
        ours, careful = _one(of_size, OURS), _one(of_size, CAREFUL)
        if ours is None or "burst" not in ours or size < SMALLEST_BUDGET:
            continue
        burst, start, idle = ours["burst"], ours["start"], ours["idle"]
        name = f"{size:,} with limits" if limits else f"{size:,}"
        judge(f"{name}: PUTs per upgrade", 1, burst["cloud"].get("Upgrade", 0) / size)
        judge(f"{name}: engines upgraded twice", 0, burst["upgraded_twice"])
        judge(f"{name}: status writes per upgrade", 3, status_writes(burst) / size)
        judge(f"{name}: other writes of the object", 0, other_object_writes(burst))
        judge(f"{name}: writes and cloud calls at rest", 0, api_writes(idle) + cloud_calls(idle))
        if limits:
            judge(f"{name}: calls that were throttled", 0, burst["throttled"])
        if "lone" in ours:
            lone = ours["lone"]
            calls = cloud_calls(lone) / lone["cloud"]["Upgrade"]
            judge(f"{name}: calls to the vendor for a lone upgrade", 4, calls)
            beyond = lone["milliseconds"]["put"]["p50"] - ours["status_write_ms"]
            judge(f"{name}: lone change to PUT beyond an intent's write, p50", 8, beyond, " ms")
        memory = 160 if size >= MANY else 100
        judge(f"{name}: MiB at rest", memory, start["rest_rss_mib"])
        judge(f"{name}: MiB in the burst", memory, burst["peak_rss_mib"])
        if size < MANY:
            judge(f"{name}: start, s until it serves", 3, start["ready_seconds"])
        if careful is not None:
            done = burst["seconds"] / careful["burst"]["seconds"]
            judge(f"{name}: done, of careful's time", 1 if limits or size >= MANY else 0.9, done)
            cpu = burst["cpu"]["contestant"] / careful["burst"]["cpu"]["contestant"]
            judge(f"{name}: CPU, of careful's", 1.5, cpu)
    return found


def _growth(results: list[Result]) -> str:
    """Return the table of how our costs grow with the number of resources."""
    ours = [r for r in results if r["contestant"] == OURS and not r["limits"]]
    if len(ours) < 2:
        return ""
    least = ours[0]
    rows = []
    for result in ours:
        more = result["resources"] - least["resources"]
        grown = result["start"]["rest_rss_mib"] - least["start"]["rest_rss_mib"]
        burst = result.get("burst")
        rows.append(
            (
                result["resources"],
                f"{result['start']['ready_seconds']:.1f}",
                f"{result['start']['contestant_cpu']:.1f}",
                f"{result['start']['rest_rss_mib']:.0f}",
                f"{grown * 1024 / more:.1f}" if more else "",
                f"{burst['seconds'] / result['resources'] * 1000:.1f}" if burst else "",
                f"{burst['cpu']['contestant'] / result['resources'] * 1000:.2f}" if burst else "",
                f"{burst['cloud'].get('ShowEngineJob', 0)}" if burst else "",
            )
        )
    head = ("ours, resources", "ready, s", "start, CPU s", "MiB at rest", "KiB for each more")
    tail = ("burst: ms for each", "CPU ms for each", "looks at jobs")
    return "## How cost grows\n\n" + _table((*head, *tail), rows)


def _budget_table(results: list[Result]) -> str:
    rows = [
        (what, limit, measured, "yes" if kept else "**no**")
        for what, limit, measured, kept in budgets(results)
    ]
    return "## Budgets\n\n" + _table(("of ours", "budget", "measured", "kept"), rows)


def _simulator(document: Result) -> str:
    rows = []
    for result in document["results"]:
        if "burst" in result:
            burst = result["burst"]
            rows.append(
                (
                    f"{result['contestant']}, {result['resources']:,}"
                    + (", with limits" if result["limits"] else ""),
                    f"{cloud_calls(burst) / burst['seconds']:.0f}",
                    f"{burst['cpu']['simulator'] / burst['seconds']:.0%}",
                    f"{burst['cpu']['kube-apiserver'] / burst['seconds']:.0%}",
                    f"{burst['cpu']['etcd'] / burst['seconds']:.0%}",
                )
            )
    capacity = document.get("simulator_calls_per_second")
    told = f"Alone it answers {capacity:,} calls a second.\n" if capacity else ""
    return f"## The simulator is not the bottleneck\n\n{told}\n" + _table(
        ("burst", "cloud calls/s", "simulator, of a core", "kube-apiserver", "etcd"), rows
    )


def machine() -> str:
    """Describe the machine in a few words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} cores ({models[0] if models else 'unknown'})"


def _with(results: list[Result], phase: str) -> Iterable[tuple[Result, Result]]:
    return ((result, result[phase]) for result in results if phase in result)


def _one(results: list[Result], name: str) -> Result | None:
    return next((result for result in results if result["contestant"] == name), None)


def _ratio(part: float, whole: float) -> str:
    return f"{part / whole:.2f}" if whole else "-"


def _sum(calls: dict[str, int], chosen: Callable[[str], bool]) -> int:
    return sum(count for call, count in calls.items() if chosen(call))


def _is_write(call: str) -> bool:
    return call.split(" ", 1)[0] in _WRITES


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    def line(cells: Iterable[object]) -> str:
        told = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)
        return f"| {' | '.join(told)} |"

    names = list(head)
    return "\n".join([line(names), "|" + "---|" * len(names), *map(line, rows), ""])
