"""docs/simulator.md describes all that the simulator can do, and nothing else."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from cse_operator.cli.flags import read_settings
from cse_operator.runtime.project_resolver import project_options
from cse_operator.runtime.settings import Settings
from cse_simulator.vendor import cli, seeds, wire
from cse_simulator.vendor.calls import OPERATIONS
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan

PAGE = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_the_documented_seed_can_be_loaded(tmp_path):
    [block] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "seed.yaml"
    path.write_text(block, encoding="utf-8")
    seed = seeds.load(path)
    assert len(seed.engines) == 103
    assert (len(seed.plans), len(seed.faults)) == (2, 1)


def test_the_documented_command_of_the_operator_is_understood():
    [command] = re.findall(r"^[$] KUBECONFIG=\S+ (.*?[^\\])\n", PAGE, re.MULTILINE | re.DOTALL)
    program, verb, *flags = shlex.split(command.replace("\\\n", " "))
    assert (program, verb) == (".venv/bin/cse-operator", "run")
    settings = read_settings(Settings, "cse-operator run", flags, description="")
    assert settings is not None
    assert settings.allow_insecure_endpoint
    [url] = set(re.findall(r'"url": "([^"]+)"', PAGE))
    assert settings.cse_endpoint == settings.iam_endpoint == url
    assert project_options(settings).endpoints.cse("cn-north-4") == url


@pytest.mark.parametrize("record", [Fault, JobPlan])
def test_every_field_of_faults_and_plans_is_documented(record):
    missing = [
        field.name for field in fields(record) if f"`{wire.camel_case(field.name)}`" not in PAGE
    ]
    assert missing == []


def test_every_operation_and_admin_call_is_documented(vendor):
    routes = vendor().simulator.admin._routes
    assert [name for name in OPERATIONS if f"`{name}`" not in PAGE] == []
    assert [name for _, name, _ in routes if f"/_admin/{name}" not in PAGE] == []


def test_every_flag_that_is_documented_exists(capsys):
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    known = capsys.readouterr().out
    operators = {"--cse-endpoint", "--iam-endpoint", "--allow-insecure-endpoint"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - operators
    assert [flag for flag in sorted(named) if flag not in known] == []
