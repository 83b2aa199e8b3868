"""Commands, flags, files and links that README and docs name exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cse_operator.api import crd, names
from cse_operator.api.spec import Spec
from cse_operator.cli.main import main
from cse_simulator.control_plane.assets import ASSETS_VARIABLE
from support.repository import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
FENCES = re.MULTILINE | re.DOTALL
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


SAMPLES = sorted((ROOT / "deploy" / "samples").rglob("*.yaml"))
FLEET = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")


def blocks(language: str, page: str = README) -> list[str]:
    """Return a page's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def code() -> list[str]:
    """Return each command or line of the README's fenced blocks, and each inline code."""
    joined = [re.sub(r" *\\\n *", " ", block) for block in blocks(r"\w+")]
    fenced = [line for block in joined for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```", "", README, flags=FENCES)
    return [*fenced, *re.findall(r"`([^`\n]+)`", prose)]


def uses_of_make() -> Iterator[tuple[str, list[str]]]:
    """Yield each make target in the README, with the variables that it sets."""
    for line in code():
        for target, rest in re.findall(r"\bmake ([a-z-]+)((?: [A-Z]+=\S+)*)", line):
            yield target, re.findall(r"([A-Z]+)=", rest)


def test_every_make_target_and_variable_of_the_readme_exists():
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE))
    used = list(uses_of_make())
    assert {"demo", "test", "image"} <= {target for target, _ in used}
    for target, variables in used:
        assert target in targets
        for variable in variables:
            assert f"$({variable}" in MAKEFILE


@pytest.mark.parametrize("command", ["check"])
def test_every_flag_that_the_readme_gives_a_command_exists(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    explained = capsys.readouterr().out
    for line in code():
        for rest in re.findall(rf"cse-operator {command}\b(.*)", line):
            for flag in re.findall(r"--[a-z-]+", rest):
                assert re.search(rf"{flag}\b", explained), line


def test_every_command_of_the_readme_exists(capsys):
    commands = {
        name
        for line in code()
        for name in re.findall(r"cse-operator (?!\S*[/:])([a-z]+)(?= -|$| \|)", line)
    }
    assert "check" in commands
    for name in commands:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def test_every_file_that_the_readme_hands_to_kubectl_is_there():
    files = [path for line in code() for path in re.findall(r"kubectl apply -[fk] (\S+)", line)]
    assert files
    for path in files:
        assert (ROOT / path).exists(), path


def test_every_path_that_the_readme_names_is_there():
    paths = [piece for piece in code() if re.fullmatch(r"(deploy|docs|tests|crds)/[\w./-]+", piece)]
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_manifest_of_the_readme_is_the_sample():
    (manifest,) = [yaml.safe_load(block) for block in blocks("yaml")]
    Spec.model_validate(manifest["spec"])
    sample = yaml.safe_load((ROOT / "deploy/samples/servicecomb-engine.yaml").read_text())
    assert manifest == sample


@pytest.mark.parametrize("name", ["README.md", "docs/install.md"])
def test_a_first_engine_is_applied_only_after_the_warning_the_secret_and_the_check(name):
    page = (ROOT / name).read_text(encoding="utf-8")
    steps = (
        "**Set `version` to the version that the engine has now.**",
        "cse-operator import",
        "kubectl create namespace payments",
        "kubectl -n payments create secret generic huaweicloud",
        "--secret huaweicloud --region",
        "kubectl -n payments apply -f",
    )
    places = [page.find(step) for step in steps]
    assert -1 not in places
    assert places == sorted(places)
    assert len(re.findall(r"kubectl -n payments apply -f", page)) == 1


@pytest.mark.parametrize(
    "sample",
    [
        path
        for path in SAMPLES
        if "\nkind: MicroserviceEngine\n" in path.read_text(encoding="utf-8")
    ],
    ids=lambda path: path.stem,
)
def test_a_sample_of_an_engine_says_which_version_to_put_first(sample):
    before_it = sample.read_text(encoding="utf-8").split("\n  version:")[0]
    assert "# Put the engine's current version here first" in before_it.split("\nspec:\n")[1]


def test_the_page_about_gitops_lists_the_annotations_of_the_reference():
    listed = {
        name: set(re.findall(rf"^\| `({names.GROUP}/[\w-]+)` \|", text, re.MULTILINE))
        for name in ("gitops.md", "reference/api.md")
        for text in [(ROOT / "docs" / name).read_text(encoding="utf-8")]
    }
    assert names.APPROVED_VERSION in listed["gitops.md"]
    assert listed["gitops.md"] == listed["reference/api.md"]


def test_the_readme_and_the_page_of_the_fleet_show_the_columns_of_the_resource():
    [life] = [block.splitlines() for block in blocks("console") if "NAME" in block]
    [fleet] = [
        block.splitlines()
        for block in blocks("console", FLEET)
        if block.startswith("$ kubectl get mse -A\n")
    ]
    columns = crd.definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = [column["name"].upper() for column in columns if not column.get("priority")]
    assert life[1].split() == ["NAME", *shown]
    assert fleet[1].split() == ["NAMESPACE", "NAME", *shown]
    phases = [line.split()[4] for line in life[2:]]
    assert phases == ["UpToDate", "UpToDate", "Submitting", "Upgrading", "UpToDate"]


def test_the_view_for_k9s_has_columns_that_there_are():
    views = yaml.safe_load((ROOT / "deploy/monitoring/k9s-views.yaml").read_text())["views"]
    version = crd.definition()["spec"]["versions"][0]
    (path,) = views
    assert path == f"{names.GROUP}/{version['name']}/{names.PLURAL}"
    there = {column["name"].upper() for column in version["additionalPrinterColumns"]}
    shown = [column.split("|")[0] for column in views[path]["columns"]]
    assert set(shown) - there == {"NAMESPACE", "NAME"}
    assert views[path]["sortColumn"].split(":")[0] in shown


def test_the_variable_for_binaries_is_named_as_it_is():
    assert f"{ASSETS_VARIABLE}=$(setup-envtest use -p path) make demo" in README


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, by GitHub's rules."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page):
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), target


def test_every_question_about_the_code_is_answered_by_one_file_that_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.split("## Where do I find")[1]
    answers = re.findall(r"^\| [^*|]+ \| (.+) \|$", section, re.MULTILINE)[1:]
    assert len(answers) > 40
    for answer in answers:
        [path] = re.findall(r"^`([\w/]+\.py)`$", answer)
        assert (ROOT / "operator" / "cse_operator" / path).is_file(), path


def test_every_row_of_the_threats_names_tests_that_exist():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = [line.rsplit(" | ", 1)[1] for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for shown_by in rows:
        named = re.findall(r"(tests/\S+\.py): ([a-z0-9_, ]+)", shown_by)
        assert named or "Makefile" in shown_by, shown_by
        for path, names_of_tests in named:
            tests = (ROOT / path).read_text(encoding="utf-8")
            for name in names_of_tests.split(","):
                assert f"def {name.strip()}(" in tests, name
