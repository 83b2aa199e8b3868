"""The commands on the pages about plan, import, versions and kubectl cse exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cse_operator.cli import versions
from cse_operator.cli.importing import flags as import_flags
from cse_operator.cli.planning import flags as plan_flags
from cse_operator.cli.planning.verdict import Kind
from cse_operator.kubectl.flags import VERBS
from cse_operator.kubectl.flags import parser as plugin_parser
from cse_operator.runtime.settings import Settings
from support.repository import ROOT

PLAN, PLUGIN = ROOT / "docs" / "plan-and-import.md", ROOT / "docs" / "kubectl-cse.md"
PARSERS = {
    "plan": plan_flags.parse,
    "import": import_flags.parse,
    "versions": lambda words: versions._parser().parse_args(words),
}


def lines_of(page: Path) -> Iterator[str]:
    """Yield the commands in the page's fenced blocks, each in one line."""
    text, across = page.read_text(), re.MULTILINE | re.DOTALL
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text, across):
        lines = block.replace("\\\n", " ").splitlines()
        typed = (line.removeprefix("$ ") for line in lines)
        yield from (line for line in typed if line.startswith(("kubectl cse ", "cse-operator ")))


def test_every_command_on_the_page_about_plans_is_understood():
    used = set()
    for line in lines_of(PLAN):
        _, command, *words = shlex.split(line)
        PARSERS[command](words)
        used.add(command)
    assert used == set(PARSERS)


def test_every_setting_on_the_page_about_plans_is_a_setting_of_the_operator():
    named = set(re.findall(r"CSE_OPERATOR_([A-Z_]+)", PLAN.read_text()))
    assert named >= {"NAMESPACES", "REQUIRE_POLICY", "OBSERVE_ONLY", "ALLOWED_REGIONS"}
    assert {name.lower() for name in named - {""}} <= Settings.model_fields.keys()


def test_every_verdict_is_explained():
    rows = re.findall(r"^\| ([a-z ]+) \| ", PLAN.read_text(), re.MULTILINE)
    assert set(rows) - {"verdict", "variable"} == {kind.value for kind in Kind}


def test_every_command_on_the_page_about_the_plugin_is_understood():
    used = set()
    for line in [*lines_of(PLUGIN), *re.findall(r"`(kubectl cse [^`]+)`", PLUGIN.read_text())]:
        words = shlex.split(line.partition(">")[0])[2:]
        if words != ["--help"]:
            plugin_parser("0").parse_args(words)
            used.add(words[0])
    assert used >= {"status", "history", "doctor", "wait", "completion"}


def test_every_verb_that_changes_something_is_on_the_page():
    text = PLUGIN.read_text()
    for verb in VERBS.keys() - {"completion"}:
        assert re.search(rf"(\*\*{verb}\b|kubectl cse {verb})", text), verb


@pytest.mark.parametrize("flag", ["--engine", "--type", "--label", "--suspend", "--overwrite"])
def test_the_flags_in_the_text_are_there(flag, capsys):
    with pytest.raises(SystemExit):
        import_flags.parse(["--help"])
    assert flag in capsys.readouterr().out
    assert flag in PLAN.read_text()
