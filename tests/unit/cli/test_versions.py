"""The versions file for Renovate: first-seen times and other projects' entries stay."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cse_operator.cli import versions
from cse_operator.core.views import EngineView

NOON = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)


def engine(id_: str = "e1", latest: str | None = "2.4.0") -> EngineView:
    return EngineView(id_, "orders", "CSE", "Available", "2.3.1", latest, None, (), None)


def releases(document: dict[str, Any], id_: str = "e1") -> list[tuple[str, str]]:
    found = document["engines"][id_]["releases"]
    return [(release["version"], release["releaseTimestamp"]) for release in found]


def test_a_version_keeps_the_time_at_which_it_was_first_seen():
    first = versions.renovate([engine()], {}, NOON)
    assert releases(first) == [("2.4.0", "2026-11-20T12:00:00Z")]
    later = versions.renovate([engine()], first, NOON + timedelta(days=3))
    assert later == first


def test_a_new_version_gets_the_time_of_now_and_the_withdrawn_one_goes():
    first = versions.renovate([engine()], {}, NOON)
    later = versions.renovate([engine(latest="2.4.2")], first, NOON + timedelta(days=3))
    assert releases(later) == [("2.4.2", "2026-11-23T12:00:00Z")]


def test_what_was_written_of_other_projects_stays_and_the_order_is_stable():
    first = versions.renovate([engine("e2")], {}, NOON)
    both = versions.renovate([engine("e1")], first, NOON)
    assert list(both["engines"]) == ["e1", "e2"]


def test_an_engine_for_which_nothing_is_offered_keeps_what_is_known():
    first = versions.renovate([engine()], {}, NOON)
    assert versions.renovate([engine(latest=None)], first, NOON) == first


@pytest.mark.parametrize("text", ["", "[]", '{"engines": 1}', '{"engines": {"e": {}}}', "{}"])
def test_a_file_of_something_else_is_kept_and_said(tmp_path, text):
    file = tmp_path / "versions.json"
    file.write_text(text)
    with pytest.raises(versions.VersionsError, match="is kept"):
        versions._read(file)


def test_a_file_is_written_only_where_something_is_new(tmp_path):
    file = tmp_path / "new" / "versions.json"
    versions._write(file, json.dumps({}))
    before = file.stat()
    versions._write(file, json.dumps({}))
    assert file.stat().st_ino == before.st_ino
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_people_get_a_table():
    lines = versions._shown([engine(), engine("e2", None)], "text", {}).splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "VERSION", "OFFERED", "STATUS", "ENGINE"]
    assert lines[1].split() == ["orders", "CSE", "2.3.1", "2.4.0", "Available", "e1"]
    assert lines[2].split()[3] == "-"
