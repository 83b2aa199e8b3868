"""A small bar chart as SVG, without a plotting library, which would outweigh the benchmark."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

_WIDTH, _LEFT, _BAR, _GAP, _HEAD = 720, 130, 18, 6, 34
_OURS, _OTHERS = "#2f6feb", "#8b949e"


def bars(results: list[dict[str, Any]]) -> str:
    """Draw time, CPU, memory and calls of the bursts, each as bars on one scale."""
    parts: list[str] = []
    y = 10.0
    results = [result for result in results if not result["limits"]]
    for title, unit, figure in _CHARTS:
        for size in sorted({result["resources"] for result in results}):
            rows = [r for r in results if r["resources"] == size and "burst" in r]
            if rows:
                y = _chart(parts, y, f"{title}, burst of {size:,} ({unit})", rows, figure)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y:.0f}" '
        f'viewBox="0 0 {_WIDTH} {y:.0f}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


_CHARTS: tuple[tuple[str, str, Callable[[dict[str, Any]], float]], ...] = (
    ("Done", "seconds", lambda r: r["burst"]["seconds"]),
    ("CPU", "seconds", lambda r: r["burst"]["cpu"]["contestant"]),
    ("Peak memory", "MiB", lambda r: r["burst"]["peak_rss_mib"]),
    ("Calls to the vendor", "calls", lambda r: sum(r["burst"]["cloud"].values())),
)


def _chart(
    parts: list[str],
    y: float,
    title: str,
    rows: list[dict[str, Any]],
    figure: Callable[[dict[str, Any]], float],
) -> float:
    most = max(figure(row) for row in rows) or 1.0
    parts.append(f'<text x="10" y="{y + 16:.0f}" font-weight="bold">{escape(title)}</text>')
    y += _HEAD - 8
    for row in rows:
        value = figure(row)
        length = (_WIDTH - _LEFT - 90) * value / most
        colour = _OURS if row["contestant"] == "ours" else _OTHERS
        middle = y + _BAR - 5
        parts.append(
            f'<text x="{_LEFT - 8}" y="{middle:.0f}" text-anchor="end">'
            f"{escape(row['contestant'])}</text>"
            f'<rect x="{_LEFT}" y="{y:.0f}" width="{max(length, 1):.1f}" height="{_BAR}" '
            f'fill="{colour}"/>'
            f'<text x="{_LEFT + length + 6:.1f}" y="{middle:.0f}">{value:,.4g}</text>'
        )
        y += _BAR + _GAP
    return y + 10
