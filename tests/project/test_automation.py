"""What machines read beside the code: workflows, dependabot, the citation, the site."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import jconvt
from pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GITHUB = ROOT / ".github"
FILES = sorted((GITHUB / "workflows").glob("*.yml"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = {
    f"{name} {job}": body
    for name, workflow in WORKFLOWS.items()
    for job, body in workflow["jobs"].items()
}
TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_workflows_are_there():
    assert set(WORKFLOWS) == {"ci", "newest", "release"}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_no_more(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert WORKFLOWS[name]["concurrency"]["group"]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends(name):
    assert 0 < JOBS[name]["timeout-minutes"] <= 120


@pytest.mark.parametrize("name", JOBS)
def test_actions_are_pinned_by_major_version(name):
    for step in JOBS[name]["steps"]:
        assert ("uses" in step) != ("run" in step)
        if "uses" in step:
            assert re.search(r"@(?:release/)?v\d+$", step["uses"])


@pytest.mark.parametrize("name", JOBS)
def test_a_job_calls_targets_and_tests_that_exist(name):
    matrix = JOBS[name].get("strategy", {}).get("matrix", {}).get("include", [])
    for step in JOBS[name]["steps"]:
        command = step.get("run", "")
        named = re.findall(r"\bmake ([a-z-]+)", command)
        assert set(named) <= set(TARGETS)
        assert all((ROOT / p).exists() for p in re.findall(r"tests/\S+", command))
    assert {row["target"] for row in matrix} <= set(TARGETS)


def test_every_python_we_claim_is_tested():
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    rows = JOBS["ci test"]["strategy"]["matrix"]["include"]
    assert {row["python"] for row in rows} == set(claimed)
    assert {row["target"] for row in rows} >= {"test-lowest", "test-newest"}


def test_only_the_release_gets_an_identity():
    granted = {
        name: job["permissions"] for name, job in JOBS.items() if "permissions" in job
    }
    assert granted == {"release publish": {"id-token": "write"}}
    assert JOBS["release publish"]["environment"] == "pypi"


def test_a_linter_has_no_finding():
    linter = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("zizmor is not installed; `make lint` runs it")
    done = subprocess.run(
        [linter, "--quiet", "--offline", GITHUB], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()


def test_dependabot_watches_both():
    found = yaml.safe_load((GITHUB / "dependabot.yml").read_text())
    assert found["version"] == 2
    assert {u["package-ecosystem"] for u in found["updates"]} == {
        "pip",
        "github-actions",
    }


def test_the_site_is_built_with_extras_that_exist():
    found = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    assert found["version"] == 2
    assert (ROOT / found["sphinx"]["configuration"]).exists()
    (install,) = found["python"]["install"]
    assert set(install["extra_requirements"]) <= set(PROJECT["optional-dependencies"])


def test_the_citation_is_complete_and_of_this_version():
    """The keys that the Citation File Format 1.2.0 requires, and what we know."""
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert found["cff-version"] == "1.2.0"
    assert found["message"]
    assert "jconvt" in found["title"]
    assert found["version"] == jconvt.__version__
    assert found["license"] == PROJECT["license"]
    assert found["authors"] == PROJECT["authors"]
