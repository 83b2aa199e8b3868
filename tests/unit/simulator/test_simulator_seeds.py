"""Seed files, and the flags of the command."""

from __future__ import annotations

import pytest

from cse_simulator.vendor import seeds
from cse_simulator.vendor.cli import main
from cse_simulator.vendor.engines import engine_id
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan

SEED = """
engines:
  - {name: orders, project: p-1, version: 2.3.1, latestVersion: 2.4.0, offeredVersions: [2.3.9]}
  - {name: registry, project: p-1, type: NACOS, status: Unavailable}
generate:
  - {count: 3, prefix: shop, project: p-2, version: 2.3.0}
faults:
  - {operation: Upgrade, status: 502, afterEffect: true}
plans:
  - {outcome: error, step: 2, times: null}
  - {engineId: e-1, outcome: never}
"""


@pytest.fixture
def seed_file(tmp_path):
    def write(text):
        path = tmp_path / "seed.yaml"
        path.write_text(text)
        return path

    return write


def test_a_seed_describes_engines_faults_and_plans(seed_file):
    seed = seeds.load(seed_file(SEED))
    assert [(one.name, one.project, one.type, one.version) for one in seed.engines] == [
        ("orders", "p-1", "CSE", "2.3.1"),
        ("registry", "p-1", "NACOS", "2.1.0.1"),
        ("shop-00000", "p-2", "CSE", "2.3.0"),
        ("shop-00001", "p-2", "CSE", "2.3.0"),
        ("shop-00002", "p-2", "CSE", "2.3.0"),
    ]
    assert seed.engines[0].id == engine_id("p-1", "orders")
    assert seed.engines[0].offered_versions == ("2.3.9",)
    assert seed.faults == [Fault(operation="Upgrade", status=502, after_effect=True)]
    assert seed.plans == [
        (None, JobPlan("error", step=2, times=None)),
        ("e-1", JobPlan("never")),
    ]


def test_an_empty_seed_is_an_empty_world(seed_file):
    assert seeds.load(seed_file("")) == seeds.Seed()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a", "must be a mapping"),
        ("engine: []", "must be a mapping"),
        ("engines: [{nam: a}]", "'nam' is unknown"),
        ("engines: [{project: p}]", "name"),
        ("engines: [{name: a, version: 2.3}]", "version must be a str"),
        ("{", "not YAML"),
    ],
)
def test_a_wrong_seed_is_refused_with_the_reason(seed_file, text, words):
    with pytest.raises(ValueError, match=words):
        seeds.load(seed_file(text))


def test_a_plan_for_an_unknown_engine_ends_the_command_with_the_reason(seed_file, capsys):
    assert main(["serve", "--seed", str(seed_file(SEED))]) == 2
    told = 'plans: there is no engine e-1: give an engine of this file "id: e-1"'
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--user", "only-a-name"], "--user needs 3 parts"),
        (["--access-key", "only-a-key"], "--access-key needs 3 parts"),
        (["--fault", '{"explode": true}'], "'explode' is unknown"),
        (["--seed", "no-such-file.yaml"], "no-such-file.yaml"),
        (["--host", "203.0.113.1"], "203.0.113.1"),
    ],
)
def test_wrong_flags_end_the_command_with_the_reason(capsys, flags, words):
    assert main(["serve", *flags]) == 2
    assert words in capsys.readouterr().err
