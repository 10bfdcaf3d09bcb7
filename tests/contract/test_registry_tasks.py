"""What `docker-promote` and `docker-rollback` leave behind where something is in their way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from smallregistry import SmallRegistry, small_registry

from buildlib.commands.promote import promote
from buildlib.commands.rollback import rollback
from buildlib.commands.session import Edge
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    GateError,
    InputError,
    VerificationError,
    exit_code_of,
)
from buildlib.image.labels import VERSION_LABEL
from buildlib.registry.claim import PREFIX
from buildlib.registry.repository import INDEX, Repository
from buildlib.tempfiles import new_name

from fakes import showing, write_project


class World:
    """Two registries that hold three releases, of which the last is a bad one."""

    def __init__(self, root: Path, one: SmallRegistry, two: SmallRegistry) -> None:
        self.root, self.one, self.two = root, one, two
        self.releases = {}
        for here in (one, two):
            for version in ("1.2.2", "1.2.3", "1.3.0"):
                self.releases[version] = here.hold(version, version)
            here.tags |= dict.fromkeys(("latest", "1"), self.releases["1.3.0"])
        self.configure()

    def configure(self, more: str = "", first: str = "") -> None:
        tables = [
            f'[registries.{name}]\nrepository = "{here.name}"\n'
            for name, here in (("one", self.one), ("two", self.two))
        ]
        write_project(self.root, f'image = "thing"\n{first}{"".join(tables)}{more}')

    def edge(self, *, dry: bool = False) -> Edge:
        # Nothing of docker's own store on this machine.
        env = {"DOCKER_CONFIG": str(self.root / "docker")}
        return Edge(self.root, env, dry=dry, quiet=False)

    def back(self, version: str = "", *names: str, as_json: bool = False) -> None:
        rollback(self.edge(), version, names, as_json=as_json)

    def promote(self, digest: str, tag: str, *, as_json: bool = False) -> None:
        promote(self.edge(), digest, tag, (), as_json=as_json)

    def what(self, tag: str) -> list[str]:
        """Return which release a tag is, in each registry."""
        names = {digest: version for version, digest in self.releases.items()}
        return [names.get(here.tags.get(tag, ""), "none") for here in (self.one, self.two)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with small_registry() as one, small_registry() as two:
        yield World(tmp_path, one, two)


# --- rollback --------------------------------------------------------------------------------


def test_a_rollback_that_broke_off_goes_no_release_too_far(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.two.refused = {"latest"}
    with pytest.raises(AuthorisationError):
        world.back()
    told = capsys.readouterr()
    assert f"{world.one.name}:latest" in told.out
    assert "invoke docker-rollback --version 1.2.3 continues" in told.err
    assert world.what("latest") == ["1.2.3", "1.3.0"]
    world.two.refused = set()
    with pytest.raises(InputError, match="latest differs") as caught:
        world.back()
    assert f"({world.one.name}: 1.2.3, {world.two.name}: 1.3.0)" in caught.value.what
    assert world.what("latest") == ["1.2.3", "1.3.0"]
    # As git calls it, or as the tag is called.
    world.back("v1.2.3")
    assert (world.what("latest"), world.what("1")) == (["1.2.3"] * 2, ["1.2.3"] * 2)


@pytest.mark.unmeasured
def test_that_the_registries_are_asked_is_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, hosts = (
        showing(monkeypatch),
        [one.name.partition("/")[0] for one in (world.one, world.two)],
    )
    world.back()
    world.promote(world.releases["1.3.0"], "latest")
    assert shown.count(f"asking {', '.join(hosts)}") == 2


@pytest.mark.parametrize("version", ["nonsense", "v", "9.9.9", "cli/v1.2.3"])
def test_what_is_no_version_here_moves_nothing(world: World, version: str) -> None:
    with pytest.raises(InputError):
        world.back(version)
    assert (world.what("latest"), world.what("1")) == (["1.3.0"] * 2, ["1.3.0"] * 2)


@pytest.mark.unmeasured
def test_latest_moves_last_whatever_the_order_of_the_rules(world: World) -> None:
    world.configure('[tags]\nrules = ["{version}", "latest", "{major}"]\n')
    world.two.refused = {"1"}
    with pytest.raises(AuthorisationError):
        world.back()
    assert (world.what("latest"), world.what("1")) == (["1.3.0"] * 2, ["1.2.3", "1.3.0"])
    world.two.refused = set()
    # So that the same once more does the rest, and leads to the same release.
    world.back()
    assert (world.what("latest"), world.what("1")) == (["1.2.3"] * 2, ["1.2.3"] * 2)


def test_what_moved_is_told_to_programs_as_well(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.two.refused = {"1"}
    with pytest.raises(AuthorisationError):
        world.back(as_json=True)
    good, bad = world.releases["1.2.3"], world.releases["1.3.0"]
    row = {"reference": f"{world.one.name}:1", "digest": good, "before": bad}
    assert json.loads(capsys.readouterr().out) == {"digest": good, "tags": [row]}


@pytest.mark.unmeasured
def test_a_registry_that_gets_no_latest_has_no_say(world: World) -> None:
    world.configure('tags = { rules = ["{version}", "{major}"] }\n')
    world.two.tags["latest"] = world.releases["1.2.2"]
    world.back()
    assert (world.what("latest"), world.what("1")) == (["1.2.3", "1.2.2"], ["1.2.3"] * 2)


@pytest.mark.unmeasured
def test_the_way_back_is_found_by_latest_as_each_registry_calls_it(world: World) -> None:
    own = 'tags = { rules = ["{version}", "latest"] }\n'
    world.configure(own, first='[tags]\nsuffix = "-slim"\n')
    for here in (world.one, world.two):
        for tag in ("1.2.3", "1.3.0", "latest", "1"):
            here.tags[f"{tag}-slim"] = here.tags[tag]
    world.one.refused = {"latest-slim"}
    with pytest.raises(AuthorisationError):
        world.back()
    assert world.what("1-slim") == ["1.2.3", "1.3.0"]
    world.one.refused = set()
    world.back()
    assert world.what("latest") == ["1.3.0", "1.2.3"]
    assert world.what("latest-slim") == ["1.2.3", "1.3.0"]


def test_one_that_lacks_the_release_before_sends_nobody_further_back(world: World) -> None:
    del world.one.tags["1.2.3"]
    with pytest.raises(InputError, match=r"has no 1\.2\.3"):
        world.back()
    assert world.what("latest") == ["1.3.0"] * 2


def test_where_latest_is_no_release_the_version_has_to_be_named(world: World) -> None:
    for here in (world.one, world.two):
        # Somebody removed the bad one, but not the tag that stands for it.
        del here.tags["1.3.0"]
    with pytest.raises(InputError, match="latest does not point to a release"):
        world.back()
    world.back("1.2.3")
    assert world.what("latest") == ["1.2.3"] * 2


BY_V = 'rules = ["v{version}", "v{major}", "latest"]'
BY_COMMIT = 'rules = [{ template = "{version}-{short}", on = ["release"] }, "latest"]'
ROLLBACKS = {
    "a v before it": (BY_V, "v{}", "", "1.2.3"),
    "a v, as git has it": (BY_V, "v{}", "v1.2.2", "1.2.2"),
    "words around it": ('rules = ["release-{version}-x", "latest"]', "release-{}-x", "", "1.2.3"),
    "the commit after it": (BY_COMMIT, "{}-abc1234", "", "1.2.3"),
    "three numbers": ('rules = ["r{major}.{minor}.{patch}", "latest"]', "r{}", "", "1.2.3"),
}


@pytest.mark.unmeasured
@pytest.mark.parametrize(("rules", "form", "named", "back"), ROLLBACKS.values(), ids=ROLLBACKS)
def test_a_rollback_reads_tags_as_the_rules_write_them(
    world: World, rules: str, form: str, named: str, back: str
) -> None:
    for here in (world.one, world.two):
        here.tags = {"latest": world.releases["1.3.0"], "1.0.0": world.releases["1.2.2"]}
        here.tags |= {form.format(name): digest for name, digest in world.releases.items()}
        here.tags |= dict.fromkeys(["verified", "nightly-9", form.format("9.9.9-rc.1")], "sha256:0")
    world.configure(f"[tags]\n{rules}\n")
    world.back(named)
    assert world.what("latest") == [back] * 2


def test_a_line_s_own_tag_is_no_release_to_go_back_to(world: World) -> None:
    """By PEP 440 `1.3` and `1` could be versions; here they are the release once more."""
    for here in (world.one, world.two):
        here.tags = dict.fromkeys(["1.3.post1", "1.3", "1", "latest"], world.releases["1.3.0"])
        here.tags |= {"1.2": world.releases["1.2.3"], "0.9": world.releases["1.2.2"]}
    world.configure(first='version-scheme = "pep440"\n')
    world.back()
    assert world.what("latest") == world.what("1") == ["1.2.3"] * 2
    assert world.what("1.3") == ["1.3.0"] * 2
    with pytest.raises(InputError, match=r"has no 1\.1"):
        world.back("1.1")


def test_a_version_s_tag_that_points_to_another_version_is_not_gone_back_to(world: World) -> None:
    for here in (world.one, world.two):
        said = {"org.opencontainers.image.version": "1.2.2"}
        here.keep({"manifests": [], "annotations": said}, INDEX, "1.2.3")
    with pytest.raises(VerificationError, match=r"is not 1\.2\.3: it says that it is 1\.2\.2"):
        world.back()
    assert world.what("latest") == world.what("1") == ["1.3.0"] * 2


def test_the_dry_run_has_the_order_of_the_real_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rollback(world.edge(dry=True), "", (), as_json=False)
    words = [line.split()[3:] for line in capsys.readouterr().out.splitlines()]
    names = ("one", "two")
    expected = [[tag, "--registry", name] for tag in ("1", "latest") for name in names]
    assert words == expected
    assert world.one.done == []


def test_what_never_moves_is_not_rolled_back_either(world: World) -> None:
    world.configure()
    path = world.root / "buildlib.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("[registries.two]\n", '[registries.two]\nimmutable = ["lat*"]\n'), "utf-8"
    )
    with pytest.raises(GateError, match=r":latest would have to move, and immutable forbids") as e:
        world.back()
    assert "'lat*'" in str(e.value)
    assert (world.what("latest"), world.what("1")) == (["1.3.0"] * 2, ["1.3.0"] * 2)
    # What stays where it is anyway is fine.
    world.one.tags["latest"] = world.two.tags["latest"] = world.releases["1.2.3"]
    world.back("1.2.3")
    assert world.what("1") == ["1.2.3"] * 2


def test_a_release_that_came_meanwhile_is_not_rolled_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verifying(*_: object) -> Callable[[Repository, str], None]:
        def verify(repository: Repository, _digest: str) -> None:
            # It takes its time, and another publisher does not.
            here = world.one if repository.name == world.one.name else world.two
            here.tags["latest"] = here.tags["1.4.0"] = here.hold("1.4.0")

        return verify

    monkeypatch.setattr("buildlib.commands.rollback.make_verifier", verifying)
    with pytest.raises(GateError, match="tags were moved while"):
        world.back()
    assert world.one.tags["latest"] == world.one.tags["1.4.0"]
    assert world.what("1") == ["1.3.0"] * 2
    assert not [tag for tag in world.one.tags if tag.startswith(PREFIX)]


@pytest.mark.parametrize("dry", [True, False], ids=["a dry run", "a run"])
def test_what_a_killed_run_left_is_removed_but_in_a_dry_run(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dry: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ours = new_name("buildlib-docker")
    left = tmp_path / ours.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    left.mkdir()
    rollback(world.edge(dry=dry), "1.2.3", (), as_json=False)
    assert left.is_dir() == dry


# --- promote ---------------------------------------------------------------------------------


def test_a_tag_is_reported_with_the_whole_digest_that_it_had(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.promote(world.releases["1.2.3"], "latest")
    assert f"  was {world.releases['1.3.0']}\n" in capsys.readouterr().out


def test_a_version_that_is_another_image_in_one_registry_is_given_in_none(world: World) -> None:
    world.two.tags["1.4.0"] = world.releases["1.3.0"]
    with pytest.raises(BuildlibError) as caught:
        world.promote(world.releases["1.2.3"], "1.4.0")
    assert exit_code_of(caught.value) == 7
    assert f"{world.two.name}:1.4.0 already exists with a different digest" in str(caught.value)
    assert world.what("1.4.0") == ["none", "1.3.0"]


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("said", "tag", "warned"),
    [
        ("1.2.3-rc.1", "1.2.3", True),
        ("1.1.0", "1.2", True),
        ("1.2.3", "1.2.3", False),
        ("1.2.3", "1.2", False),
        ("1.2.3", "stable", False),
        ("", "1.2.3", False),
    ],
)
def test_a_tag_that_names_another_version_is_given_with_a_warning(
    world: World, capsys: pytest.CaptureFixture[str], said: str, tag: str, *, warned: bool
) -> None:
    notes = {"annotations": {VERSION_LABEL: said}} if said else {}
    for here in (world.one, world.two):
        here.tags.pop(tag, None)
    digest = world.one.keep({"manifests": [], **notes}, INDEX)
    assert world.two.keep({"manifests": [], **notes}, INDEX) == digest
    world.promote(digest, tag)
    assert world.one.tags[tag] == digest
    assert ("docker-verify of that tag exits with code 8" in capsys.readouterr().err) == warned


def test_what_one_registry_does_not_have_is_tagged_in_none(world: World) -> None:
    digest = world.one.hold("new")
    with pytest.raises(InputError, match=f"{world.two.name} has no {digest}"):
        world.promote(digest, "1.4.0")
    assert "1.4.0" not in world.one.tags


@pytest.mark.timeout(60)
def test_a_repository_that_two_registries_have_is_claimed_once(world: World) -> None:
    world.configure(f'[registries.three]\nrepository = "{world.one.name}"\n')
    world.promote(world.releases["1.2.3"], "stable")
    assert world.what("stable") == ["1.2.3"] * 2


@pytest.mark.parametrize("as_json", [False, True], ids=["to people", "to programs"])
def test_what_was_tagged_is_told_where_the_next_registry_fails(
    world: World, capsys: pytest.CaptureFixture[str], *, as_json: bool
) -> None:
    world.two.refused = {"stable"}
    with pytest.raises(AuthorisationError):
        world.promote(world.releases["1.2.3"], "stable", as_json=as_json)
    told = capsys.readouterr().out
    assert f"{world.one.name}:stable" in told
    assert f"{world.two.name}:stable" not in told
    if as_json:
        row = {"reference": f"{world.one.name}:stable", "before": ""}
        assert json.loads(told)["tags"] == [row]
