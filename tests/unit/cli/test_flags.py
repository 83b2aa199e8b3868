"""Settings from flags and the environment, and the help about them."""

from __future__ import annotations

import re

import pytest

from cse_operator.cli.check import CheckSettings
from cse_operator.cli.flags import read_settings
from cse_operator.cli.run import DESCRIPTION
from cse_operator.runtime.settings import Settings


def read(*arguments: str) -> Settings | None:
    return read_settings(Settings, "cse-operator run", arguments, description=DESCRIPTION)


def help_of(kind: type[Settings], capsys) -> str:
    with pytest.raises(SystemExit):
        read_settings(kind, "cse-operator run", ["--help"], description=DESCRIPTION)
    shown: str = capsys.readouterr().out
    return shown


def test_without_flags_the_defaults_hold():
    assert read() == Settings()


def test_a_flag_wins_over_a_variable(monkeypatch):
    monkeypatch.setenv("CSE_OPERATOR_WORKERS", "7")
    monkeypatch.setenv("CSE_OPERATOR_POLL_INTERVAL", "9")
    settings = read("--workers=3")
    assert settings is not None
    assert (settings.workers, settings.poll_interval) == (3, 9.0)


def test_a_list_may_be_separated_by_commas_or_repeated():
    settings = read("--namespaces=a,b", "--namespaces", "c")
    assert settings is not None
    assert settings.namespaces == ("a", "b", "c")


def test_every_bad_value_is_named_by_its_flag_without_a_traceback(capsys):
    assert read("--workers=many", "--poll-interval=0") is None
    complaints = capsys.readouterr().err.splitlines()
    assert sorted(line.partition(":")[0] for line in complaints) == ["--poll-interval", "--workers"]


def test_values_that_contradict_each_other_are_explained(capsys):
    assert read("--outcome-grace=1") is None
    assert capsys.readouterr().err.startswith("--outcome-grace 1 is too short: ")


@pytest.mark.parametrize("kind", [Settings, CheckSettings])
def test_help_names_every_setting_and_no_type_of_python(capsys, kind):
    shown = help_of(kind, capsys)
    for name in kind.model_fields:
        assert f"--{name.replace('_', '-')}" in shown
    assert not re.search(r"tuple|\bstr\b|\bfloat\b|\bint\b|\bPath\b|None|lambda|\(\)", shown)


def test_help_says_what_a_value_looks_like(capsys):
    shown = help_of(Settings, capsys)
    for flag in (
        "--namespaces NAME,…",
        "--cse-endpoint URL",
        "--ca-bundle FILE",
        "--poll-interval SECONDS",
        "--workers NUMBER",
        "--log-format {text,json}",
        "--listen ADDRESS:PORT",
    ):
        assert flag in shown
    assert "CSE_OPERATOR_POLL_INTERVAL" in shown
    assert "All settings:" in shown


def test_a_flag_is_not_guessed_from_its_beginning(capsys):
    with pytest.raises(SystemExit):
        read("--namespace=a")
    assert "--namespace=a" in capsys.readouterr().err
