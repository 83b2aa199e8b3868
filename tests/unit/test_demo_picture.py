"""The README's moving picture is drawn from a run of the demo, and is up to date."""

from __future__ import annotations

import importlib
import re
import xml.etree.ElementTree as ET

import pytest

from cse_simulator.demo import screen, world
from support.repository import ROOT

PICTURE = ROOT / "docs" / "demo.svg"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return importlib.import_module("demo_picture")


def recorded(script):
    """A run: a line, a table that is drawn twice, and output after the picture's end."""
    return [
        (0.0, "before\r\n"),
        (1.0, f"\x1b[1;36m{script.FIRST}\x1b[0m\r\norders  \x1b[33mUpgrading\x1b[0m  \r\n"),
        (2.0, "\x1b[1A\x1b[2"),
        (2.001, "K"),
        (2.002, "orders  \x1b[32mUpToDate\x1b[0m\r\n<end>\r\n"),
        (3.0, f"{script.AFTER_LAST}\r\n/a/path/of/this/machine\r\n"),
    ]


def test_a_line_that_was_written_over_is_shown_for_its_time_only(script):
    film = script.frames(recorded(script))
    texts = {
        "".join(piece for piece, _ in shown.line).strip(): (shown.start, shown.end)
        for shown in script.shown(film)
    }
    assert texts[script.FIRST] == (0.0, None)
    assert texts["orders  Upgrading"] == (0.0, pytest.approx(1.002))
    assert texts["orders  UpToDate"] == (pytest.approx(1.002), None)
    assert "before" not in texts
    assert len(texts) == 4


def test_the_picture_is_xml_with_the_colours_and_without_what_comes_after_it(script):
    picture = script.draw(script.frames(recorded(script)))
    root = ET.fromstring(picture)
    coloured = {
        piece.text: piece.get("class") for piece in root.iter("{http://www.w3.org/2000/svg}tspan")
    }
    assert coloured == {script.FIRST: "b c", "Upgrading": "y", "UpToDate": "g"}
    assert "&lt;end&gt;" in picture
    assert "/a/path" not in picture


def test_a_demo_that_shows_nothing_of_it_makes_no_picture(script):
    with pytest.raises(ValueError, match="did not show"):
        script.frames([(0.0, "demo: no API server\r\n")])


def test_a_demo_that_fails_makes_no_picture(script):
    with pytest.raises(script.subprocess.CalledProcessError):
        list(script.record(["/bin/sh", "-c", "echo half of it; exit 3"]))


def test_the_picture_in_the_repository_shows_the_demo_of_today():
    text = "".join(ET.parse(PICTURE).getroot().itertext())
    for sample in world.SAMPLES:
        assert sample.story in text, "make picture"
    for column in screen._COLUMNS:
        assert column in text, "make picture"
    assert "exactly one each" in text
    assert not re.search(r"(?<![\w.:/])/(\w+/)+\w", text)
