"""ListEngines: paging under each of the contradictory documents, filters, and rows."""

from __future__ import annotations

import pytest


@pytest.fixture
def five(vendor):
    def make(**settings):
        v = vendor(**settings)
        for name in "abcde":
            v.engine(name)
        return v

    return make


def names(reply):
    return "".join(row["name"] for row in reply.json["data"])


@pytest.mark.parametrize(
    ("style", "pages"),
    [
        ("item", {0: "ab", 1: "bc", 2: "cd", 4: "e", 5: ""}),
        ("item-from-one", {0: "ab", 1: "ab", 2: "bc", 5: "e", 6: ""}),
        ("page", {0: "ab", 1: "ab", 2: "cd", 3: "e", 4: ""}),
        ("page-from-zero", {0: "ab", 1: "cd", 2: "e", 3: ""}),
    ],
)
def test_offset_means_what_the_paging_style_says(five, style, pages):
    v = five(paging_style=style)
    for offset, expected in pages.items():
        reply = v.list(f"?offset={offset}&limit=2")
        assert (names(reply), reply.json["total"]) == (expected, 5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [("?limit=1000", "abc"), ("?limit=2", "ab"), ("", "abc"), ("?limit=x&offset=y", "abc")],
)
def test_a_page_is_never_longer_than_the_cap(five, query, expected):
    assert names(five(maximum_limit=3, default_limit=7).list(query)) == expected


@pytest.mark.parametrize(
    ("query", "default", "expected"),
    [
        ("?type=ALL", "CSE", "nc"),
        ("?type=Nacos", "ALL", "n"),
        ("?type=CSE", "ALL", "c"),
        ("", "ALL", "nc"),
        ("", "CSE", "c"),
    ],
)
def test_a_listing_may_be_narrowed_to_a_type(vendor, query, default, expected):
    v = vendor(list_default_type=default)
    v.engine("n", type="NACOS")
    v.engine("c")
    reply = v.list(query)
    assert (names(reply), reply.json["total"]) == (expected, len(expected))


def test_a_deleted_engine_moves_those_behind_it_up(five):
    v = five()
    v.world.delete_engine(v.list().json["data"][1]["id"])
    assert names(v.list("?offset=1&limit=2")) == "cd"
    assert v.list().json["total"] == 4


def test_rows_follow_the_engine(five):
    v = five(job_seconds=5)
    engine = next(iter(v.world.engines.values()))
    job = v.upgrade(engine).json["jobId"]
    row = v.list("?limit=1").json["data"][0]
    assert (row["status"], row["version"], row["latestJobId"]) == ("Upgrading", "2.3.1", job)
    v.clock.advance(5)
    row = v.list("?limit=1").json["data"][0]
    assert (row["status"], row["version"], row["latestJobId"]) == ("Available", "2.4.0", job)
    assert row["engineAdditionalActions"] == ["Noting"]
    assert row["createTime"] == int(engine.created_at * 1000)
