"""The first contact with `cse-operator` on a command line."""

from __future__ import annotations

import pytest
import yaml

from cse_operator import __version__
from cse_operator.api import crd, policy_crd
from cse_operator.cli.main import main


def test_without_a_command_it_lists_the_commands(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().err
    for command in ("run", "check", "plan", "import", "versions", "crd"):
        assert f"\n  {command} " in shown


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "print the CustomResourceDefinition" in capsys.readouterr().out


def test_it_tells_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"cse-operator {__version__}\n"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("chekc", "there is no command 'chekc': did you mean check?"),
        (
            "upgrade",
            "there is no command 'upgrade'. Commands: run, check, plan, import, versions, crd",
        ),
    ],
)
def test_a_mistyped_command_is_answered_with_the_nearest_one(capsys, typed, answer):
    with pytest.raises(SystemExit) as ended:
        main([typed])
    assert ended.value.code == 2
    assert answer in capsys.readouterr().err


def test_crd_prints_what_kubectl_can_apply(capsys):
    assert main(["crd"]) == 0
    shown = list(yaml.safe_load_all(capsys.readouterr().out))
    assert shown == [
        crd.definition(),
        policy_crd.upgrade_policy(),
        policy_crd.cluster_upgrade_policy(),
    ]


@pytest.mark.parametrize("command", ["run", "check", "plan", "import", "versions", "crd"])
def test_each_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: cse-operator {command}")


PROJECT = ("--region=cn-north-4", "--project-id=0a")


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("check",),
        ("import", *PROJECT),
        ("versions", *PROJECT),
        ("plan", "-f", "x"),
        ("crd",),
    ],
)
def test_an_unknown_flag_is_named(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--colour"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --colour" in capsys.readouterr().err
