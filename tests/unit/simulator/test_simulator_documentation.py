"""docs/simulator.md describes all that the simulator can do, and nothing else."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

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
