"""The project of docs/first-release.md: what a release asks of it, without an engine."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.errors import BuildlibError
from buildlib.image.labels import OCI
from buildlib.policy.check import check_labels

from fakes import a_project, git_facts

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 6, 15)


def _files(page: str) -> dict[str, str]:
    """Return the files that a page shows, by the name in the first line of each."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(
        r"^```(?:Dockerfile|python|toml|sh)\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    return dict(blocks)


def test_the_page_s_files_have_what_a_real_release_asks_for(tmp_path: Path) -> None:
    files = _files("first-release.md")
    assert len(files) == 5
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    project = a_project(tmp_path, git=git_facts(remote="git@github.com:you/hello.git"))
    check_labels(project, TODAY)
    labels = dict(make_build_plan(project, BuildRequest(), project.dockerfile()).labels)
    assert labels[f"{OCI}.title"] == "hello"
    assert labels[f"{OCI}.source"] == "https://github.com/you/hello"
    config = tmp_path / "buildlib.toml"
    for key in ("description", "licenses"):
        config.write_text(re.sub(rf"(?m)^{key} .*\n", "", files["buildlib.toml"]), encoding="utf-8")
        with pytest.raises(BuildlibError, match=f"no label for: {key}"):
            check_labels(a_project(tmp_path, git=project.git), TODAY)


def test_the_bootstrap_has_a_placeholder_for_the_page_s_base() -> None:
    (base,) = re.findall(r"(?m)^FROM (\S+)", _files("first-release.md")["Dockerfile"])
    (own,) = re.findall(r"(?m)^ARG ALPINE_VERSION=(\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    assert base == f"alpine:{own}"


def test_the_map_that_adopting_shows_is_one(
    tmp_path: Path,
) -> None:
    text = (ROOT / "docs/adopting.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(\[base-images\].*?)```", text, re.DOTALL)
    shown = tomllib.loads(block)["base-images"]
    path = tmp_path / "map.toml"
    path.write_text(block, encoding="utf-8")
    (tmp_path / "buildlib.toml").write_text('image = "thing"\n', encoding="utf-8")
    project = a_project(tmp_path, env={"BUILDLIB_BASE_IMAGES": str(path)})
    found = dict(project.config.base_images)
    assert found.keys() == shown.keys()
    assert [name for name, image in found.items() if image.stand_in] == ["alpine:3.22"]
