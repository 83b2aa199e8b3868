"""The Dockerfile fits the project."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cse_operator import __version__
from support.repository import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def needed_by(name: str) -> set[str]:
    """Return a distribution and its dependencies, by their canonical names."""
    found: set[str] = set()
    wanted = [name]
    while wanted:
        name = canonicalize_name(wanted.pop())
        if name in found:
            continue
        found.add(name)
        requirements = [Requirement(text) for text in metadata.requires(name) or ()]
        wanted += [r.name for r in requirements if r.marker is None or r.marker.evaluate()]
    return found


def test_the_builder_pins_everything_that_builds_the_wheel() -> None:
    [names] = re.findall(r"/\^\(([-a-z0-9|]+)\)==/", DOCKERFILE)
    assert set(names.split("|")) == needed_by("hatchling")


def test_what_is_copied_reaches_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_and_the_manifests_speak_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    kustomization = yaml.safe_load((ROOT / "deploy/base/kustomization.yaml").read_text())
    [image] = kustomization["images"]
    assert image == {
        "name": project["name"],
        "newName": "registry.example.com/cse-operator",
        "newTag": project["version"],
    }
    assert f"ARG VERSION={project['version']}\n" in DOCKERFILE
    assert project["version"] == __version__


def test_the_pages_speak_of_this_version() -> None:
    spoken = re.compile(
        r"(?:cse.operator[:-]|cse-operator --version |tags/v|tag -s v|newTag: )(\d+\.\d+\.\d+)"
    )
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    named = [(page.name, v) for page in pages for v in spoken.findall(page.read_text())]
    assert {page for page, _ in named} >= {"README.md", "install.md", "kubectl-cse.md"}
    assert {version for _, version in named} == {__version__}, named
