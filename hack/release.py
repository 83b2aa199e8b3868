"""Makes the files that a release publishes beside the image.

    hack/release.py check TAG
    hack/release.py unpublished IMAGE
    hack/release.py files IMAGE@DIGEST REPOSITORY

`check` refuses a tag that does not name this version, and pages that deny the release.
`unpublished` refuses this version if the registry has its image, because tags never move. `files`
fills dist/: with the CRDs, the wheel, the install YAML and the chart, which both name the released
image by its digest, the plug-in of kubectl with its manifest for krew, and the bill of materials.
It also writes .build/notes.md, the text of the release. REPOSITORY is the address of the sources.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests")]

import kubectl_cse  # noqa: E402

from cse_simulator.control_plane import ensure_assets  # noqa: E402
from support import go_tools  # noqa: E402

CHART = ROOT / "deploy" / "helm" / "cse-operator"
NOBODYS = "registry.example.com/cse-operator"
"""The image's name if no registry is known."""
NO_RELEASE = "There is no release yet"
NOWHERE = "https://git.example.com/cse-operator"
"""The repository's address in the chart if none is known."""
IMAGE = re.compile(
    r"(?P<name>[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+)@(?P<digest>sha256:[0-9a-f]{64})"
)


class ReleaseError(Exception):
    """The release cannot be made; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Run a command and return the exit code."""
    try:
        match arguments:
            case ["check", tag]:
                check(tag)
            case ["unpublished", image]:
                unpublished(image)
            case ["files", image, repository]:
                files(image, repository, ROOT / "dist", ROOT / ".build" / "notes.md")
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def version() -> str:
    """Return the version in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def check(tag: str) -> None:
    """Refuse a tag that does not name the version in pyproject.toml.

    Raises:
        ReleaseError: The tag is not the version, the changelog has no section for it, or a page
            still says that there is no release.
    """
    if tag != f"v{version()}":
        raise ReleaseError(f"the tag {tag} is not v{version()}, the version in pyproject.toml")
    changes(version())
    if pages := pages_without_a_release():
        raise ReleaseError(f"take {NO_RELEASE!r} out of {', '.join(pages)} before this release")


def pages_without_a_release() -> list[str]:
    """Return the pages that say that nothing was released."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return sorted(
        str(page.relative_to(ROOT))
        for page in pages
        if NO_RELEASE in " ".join(page.read_text(encoding="utf-8").split())
    )


def unpublished(image: str) -> None:
    """Refuse to publish an image whose version the registry has already.

    Args:
        image: The image's name, without a tag.

    Raises:
        ReleaseError: The registry has it, or did not say that it has it not.
    """
    tagged = f"{image}:{version()}"
    asked = subprocess.run(  # noqa: S603 - named here
        ["docker", "buildx", "imagetools", "inspect", tagged],  # noqa: S607 - the runner's
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        raise ReleaseError(
            f"{tagged} is published already, and a tag never moves: make a new version"
        )
    if "not found" not in asked.stdout:
        raise ReleaseError(f"whether {tagged} is published could not be asked:\n{asked.stdout}")


def changes(of: str) -> str:
    """Return the changelog's section of a version.

    Raises:
        ReleaseError: The changelog has no such section.
    """
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^## {re.escape(of)}( [^\n]*)?\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    if found is None:
        raise ReleaseError(f"CHANGELOG.md has no section '## {of}'")
    return found[2].strip()


def kinds_of_changes() -> list[dict[str, str]]:
    """Return this version's changes in the form of Artifact Hub."""
    found: list[dict[str, str]] = []
    for part in re.split(r"^### ", changes(version()), flags=re.MULTILINE):
        kind, _, lines = part.partition("\n")
        found += [
            {"kind": kind.strip().lower(), "description": " ".join(line.split())}
            for line in re.findall(r"^- (.*(?:\n  .*)*)", lines, re.MULTILINE)
        ]
    return found


def files(image: str, repository: str, output: Path, notes: Path) -> None:
    """Make the files of a release.

    Raises:
        ReleaseError: The image is not named by registry, path and digest.
    """
    named = IMAGE.fullmatch(image)
    if named is None:
        raise ReleaseError(f"{image} is not REGISTRY/PATH@sha256:…")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / "install.yaml").write_text(install(named["name"], named["digest"]), encoding="utf-8")
    crds = run(str(ensure_assets().kubectl), "kustomize", "crds")
    (output / "crds.yaml").write_text(crds, encoding="utf-8")
    package_chart(named["name"], named["digest"], repository, output)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(output))
    kubectl_cse.write(output, repository)
    run(sys.executable, "hack/sbom.py", str(output / "sbom.cdx.json"))
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.write_text(f"The image: `{image}`\n\n{changes(version())}\n", encoding="utf-8")


def install(name: str, digest: str) -> str:
    """Return deploy/base as one file, with the released image in it."""
    with tempfile.TemporaryDirectory(dir=ROOT / "deploy", prefix=".release-") as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["../base"],
            "images": [{"name": NOBODYS, "newName": name, "digest": digest}],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return run(str(ensure_assets().kubectl), "kustomize", folder)


def package_chart(name: str, digest: str, repository: str, output: Path) -> None:
    """Package the chart, with the released image as its default and this version's changes."""
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(folder) / CHART.name
        shutil.copytree(CHART, chart)
        values = (chart / "values.yaml").read_text(encoding="utf-8")
        for before, after in (
            (f"  repository: {NOBODYS}\n", f"  repository: {name}\n"),
            ('  digest: ""\n', f"  digest: {digest}\n"),
        ):
            if values.count(before) != 1:
                raise ReleaseError(f"values.yaml does not have one line {before!r}")
            values = values.replace(before, after)
        (chart / "values.yaml").write_text(values, encoding="utf-8")
        about = (chart / "Chart.yaml").read_text(encoding="utf-8").replace(NOWHERE, repository)
        described = yaml.safe_load(about)
        described["annotations"]["artifacthub.io/changes"] = yaml.safe_dump(kinds_of_changes())
        (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
        run(str(go_tools.tool("helm")), "package", str(chart), "--destination", str(output))


def run(*command: str) -> str:
    """Run a command and return its output."""
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603 - named here


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
