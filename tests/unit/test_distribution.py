"""What the distribution says of itself: version, addresses, commit, and the texts made of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildlib import distribution
from buildlib.commands.templates import own_workflow
from buildlib.config.load import load_config

METADATA = """\
Metadata-Version: 2.4
Name: some-thing
Version: 4.5.6
Project-URL: Source, https://github.com/you/some-thing
Project-URL: Schema, https://example.org/schema.json
"""
ORIGIN = (
    '{"url": "https://github.com/fork/thing.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}'
)

PLAIN = {"v": ()}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install a distribution that has a package called buildlib."""
    folder = tmp_path / "site" / "some_thing-4.5.6.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(METADATA, encoding="utf-8")
    (folder / "top_level.txt").write_text("buildlib\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder.parent))
    distribution._own.cache_clear()
    yield folder
    distribution._own.cache_clear()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(distribution, "packages_distributions", dict)
    distribution._own.cache_clear()
    yield
    distribution._own.cache_clear()


@pytest.mark.usefixtures("installed")
def test_version_and_addresses_are_those_of_the_metadata() -> None:
    assert distribution.version() == "4.5.6"
    assert distribution.address("Schema") == "https://example.org/schema.json"
    assert distribution.address("Other") == ""
    assert distribution.origin() == ("", "")


@pytest.mark.usefixtures("nowhere")
def test_a_checkout_that_is_not_installed_says_nothing() -> None:
    assert (distribution.version(), distribution.address("Schema")) == ("", "")
    assert (distribution.origin(), own_workflow(PLAIN)) == (("", ""), "")


def test_a_configuration_with_the_line_of_the_schema_is_read(tmp_path: Path) -> None:
    text = '#:schema https://example.org/schema.json\nimage = "thing"\n'
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    assert load_config(tmp_path, {}).image == "thing"


def test_the_workflow_is_of_the_commit_that_was_installed(installed: Path) -> None:
    # From an index, a directory, or a server that is not GitHub.
    assert own_workflow(PLAIN) == ""
    elsewhere = ORIGIN.replace("github.com", "notgithub.com")
    for text in ('{"url": "file:///x", "dir_info": {}}', elsewhere):
        (installed / "direct_url.json").write_text(text)
        assert own_workflow(PLAIN) == ""
    # A fork has commits of its own.
    (installed / "direct_url.json").write_text(ORIGIN)
    text = own_workflow({"cli/v": ()})
    assert "    uses: fork/thing/.github/workflows/image.yml@abc\n" in text
    assert '    tags: ["cli/v*"]\n' in text
