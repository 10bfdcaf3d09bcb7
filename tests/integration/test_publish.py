"""Publishing to two real registries: what becomes public, in which order, and what never does."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from buildkit import container_builder
from conftest import ROOT, git
from ociwriter import ELF
from registries import KNOWN, PASSWORD, USER, Server, free_port, registry
from releases import BUILDKIT, PATH, PLAIN, STATED, UNSIGNED, Release, make_release

from buildlib.commands.promote import never_moves
from buildlib.commands.session import Edge
from buildlib.config.load import load_config
from buildlib.errors import GateError, InputError, ProblemsError, TransientError, exit_code_of
from buildlib.records.store import open_store
from buildlib.registry.repository import Repository
from buildlib.registry.transport import Transport

pytestmark = pytest.mark.release
TAGS = ["1", "1.2", "1.2.3", "latest"]
Make = Callable[..., Release]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("registries")
    with registry(folder / "one") as one, registry(folder / "two") as two:
        yield [one, two]


@pytest.fixture
def make(tmp_path: Path, servers: list[Server]) -> Iterator[Make]:
    releases: list[Release] = []

    def made(folder: str = "repo", **options: object) -> Release:
        hosts = {"one": servers[0].host, "two": servers[1].host}
        release = make_release(tmp_path / folder, hosts, servers, **options)  # type: ignore[arg-type]
        releases.append(release)
        return release

    yield made
    for release in releases:
        release.forget()


@pytest.mark.toolchain
def test_one_digest_is_built_checked_signed_and_tagged_everywhere(make: Make) -> None:
    # Steps that another test builds at this moment would be waited for, and not be cached ones.
    release = make(provenance=True, content=secrets.token_hex(8))
    outputs = release.root.parent / "outputs"
    summary = release.root.parent / "summary"
    release.env.update(GITHUB_OUTPUT=str(outputs), GITHUB_STEP_SUMMARY=str(summary))
    text = release.publish(PLAIN)
    receipt = release.receipt
    digest = receipt["digest"]
    assert release.tags == [dict.fromkeys(TAGS, digest)] * 2
    assert receipt["finished"] is True
    assert sorted(receipt["platforms"]) == ["linux/amd64", "linux/arm64"]
    assert [gate["state"] for gate in receipt["gates"]] == ["passed", "passed"]
    tools = {"buildkit", "buildlib", "buildx", "cosign", "docker", "engine"}
    assert {name for name, version in receipt["tools"].items() if version} == tools
    written = outputs.read_text(encoding="utf-8").splitlines()
    assert (written[1], written[4]) == (receipt["version"], digest)
    places = {receipt["targets"][name]["repository"] for name in ("one", "two")}
    assert set(written[7:-1]) == {f"{place}:{tag}" for place in places for tag in TAGS}
    store = open_store(load_config(release.root, {}), release.env)
    assert store
    record = next(one for one in store.usable() if one.task == "docker-publish")
    assert [gate["state"] for gate in record.gates] == ["passed", "passed"]
    assert [one["digest"] for one in record.registries] == [digest] * 2
    for found in (record.layers, record.largest):
        assert {one.platform for one in found} == set(receipt["platforms"])
    assert ": publication\n" in summary.read_text(encoding="utf-8")
    for name in ("one", "two"):
        target = receipt["targets"][name]
        assert target["digest"] == digest
        assert target["signed_by"].startswith("key sha256:")
        assert sorted(target["tags"]) == TAGS
    # One build, however many registries. The one for BuildKit's provenance, after the gates, only
    # asks for that, and prints no line of its own.
    assert text.count("--provenance=false") == 1
    assert text.count("docker buildx build") == 1
    asked = text.rpartition(" gate ")[2].partition("pushing")[0]
    steps = [line for line in asked.splitlines() if "COPY" in line]
    assert steps
    assert all("cached" in line for line in steps)
    index = Repository(Transport(release.hosts["two"], KNOWN), PATH).manifest(digest)
    assert index
    # The page of a registry shows what the index says.
    notes = json.loads(index.data)["annotations"]
    assert notes["org.opencontainers.image.version"] == "1.2.3"
    assert notes["org.opencontainers.image.revision"] == receipt["revision"]
    wanted = [word for kind in STATED for word in ("--attestation", kind)]
    for host in release.hosts.values():
        done = release.invoke("docker-verify", f"{host}/{PATH}:1.2.3", "--json", *wanted)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["digest"] == digest
        assert found["attestations"] == STATED
        assert sorted(found["images"]) == sorted(receipt["platforms"].values())
    for image in receipt["platforms"].values():
        reference = f"{release.hosts['two']}/{PATH}@{image}"
        done = release.invoke("docker-verify", reference, "--json", "--attestation", BUILDKIT)
        assert json.loads(done.stdout)["attestations"] == {BUILDKIT: 1}, done.stderr
    _check_that_a_second_time_is_nothing_but_questions(release)


@pytest.mark.toolchain
@pytest.mark.timeout(2400)
def test_a_builder_in_a_container_publishes_as_well(make: Make, tmp_path: Path) -> None:
    with container_builder(tmp_path / "builder") as builder:
        release = make(config=f'builder = "{builder.name}"\n', provenance=True)
        release.env |= builder.env
        text = release.publish(PLAIN)
    assert f"--builder {builder.name}" in text
    receipt = release.receipt
    assert release.tags == [dict.fromkeys(TAGS, receipt["digest"])] * 2
    # BuildKit's own statement comes from there too.
    assert [one["type"] for one in receipt["provenance"]] == [BUILDKIT] * 2


def _check_that_a_second_time_is_nothing_but_questions(release: Release) -> None:
    tags = release.tags
    # Who built it is remembered, whoever goes on.
    path = release.root / "dist/receipt.json"
    path.write_text(
        path.read_text("utf-8").replace('"buildkit": "', '"buildkit": "other '), "utf-8"
    )
    text = release.publish(PLAIN._replace(resume=True))
    assert release.tags == tags
    assert "docker buildx build" not in text
    assert "has passed for this image" in text
    assert "signing" not in text
    assert release.receipt["tools"]["buildkit"].startswith("other ")
    targets = release.receipt["targets"].values()
    assert [(target["sent"], target["there"]) for target in targets] == [(0, 3), (0, 3)]
    # Without --resume as well: the same sources are the same image.
    release.publish(UNSIGNED)
    assert release.tags == tags


@pytest.mark.parametrize("kind", ["signed release", "unsigned snapshot"])
def test_the_dry_run_is_a_script_that_does_the_same(make: Make, kind: str) -> None:
    snapshot = kind == "unsigned snapshot"
    release, options = make(), list[str]()
    if snapshot:
        git(release.root, "commit", "--quiet", "--allow-empty", "--message", "further")
        options = ["--snapshot", "--skip-gate", "sign", "--reason", "there's no key yet"]
    plan = release.invoke("docker-publish", "--dry-run", *options)
    assert plan.returncode == 0, plan.stderr
    told = json.loads(release.invoke("docker-publish", "--dry-run", "--json", *options).stdout)
    assert all(step["command"] in plan.stdout for step in told["steps"])
    assert release.tags == [{}, {}]
    assert not (release.root / "dist").exists()
    script = plan.stdout.replace("invoke ", f"{release.command()[0]} -m invoke ")
    done = subprocess.run(
        ["bash", "-c", script],
        # It knows where it belongs.
        cwd=release.root.parent,
        env=release.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    by_hand = release.tags
    assert len(by_hand[0]) == (1 if snapshot else 4)
    assert ("nothing is verified: there's no key yet" in done.stderr) == snapshot
    assert by_hand[0] == by_hand[1]
    release.forget()
    release.publish(UNSIGNED._replace(snapshot=snapshot))
    assert release.tags == by_hand


# Where syft is not in the cache yet it is compiled, which takes minutes.
@pytest.mark.timeout(2400)
def test_a_gate_that_fails_keeps_everything_private(make: Make, syft_path: str) -> None:
    release = make(config='[smoke]\nsize-budget = "10 B"\n', gates=["size", "sbom"])
    release.env["PATH"] = syft_path
    (release.root / "program").write_bytes(ELF)
    git(release.root, "commit", "--quiet", "--all", "--amend", "--no-edit")
    git(release.root, "tag", "--force", "v1.2.3")
    # No package in it, for syft: both are told, and nobody waits for the other.
    with pytest.raises(ProblemsError, match="over its budget") as caught:
        release.publish(PLAIN)
    assert "it holds a program, /program" in str(caught.value)
    assert exit_code_of(caught.value) == 7
    assert release.tags == [{}, {}]
    assert not any(server.holds(release.receipt["digest"]) for server in release.servers)
    assert [gate["state"] for gate in release.receipt["gates"]] == ["failed", "failed"]
    # It can be left out, by name and with a reason, and that stays on record.
    done = release.invoke("docker-publish", "--skip-gate", "size", "--skip-gate", "sign")
    assert done.returncode == 2
    assert "needs a --reason" in done.stderr
    skips = ("size", "sbom", "sign")
    wanted = UNSIGNED._replace(skips=skips, reason="the budget is being talked about")
    text = release.publish(wanted)
    assert "size is left out: the budget is being talked about" in text
    left_out = [gate for gate in release.receipt["gates"] if gate["state"] == "left out"]
    assert [gate["gate"] for gate in left_out] == list(skips)
    assert {gate["detail"] for gate in left_out} == {"the budget is being talked about"}
    assert sorted(release.tags[0]) == TAGS


def test_signing_is_left_out_by_configuration_and_that_is_told(make: Make) -> None:
    release = make(gates=["size"])
    config = release.root / "buildlib.toml"
    text = config.read_text("utf-8").partition("[sign]")[0]
    config.write_text(text.replace("[publish]\n", "[publish]\nsign = false\n"), "utf-8")
    git(release.root, "commit", "--quiet", "--all", "--amend", "--no-edit")
    git(release.root, "tag", "--force", "v1.2.3")
    script = release.invoke("docker-publish", "--dry-run")
    assert script.returncode == 0, script.stderr
    assert "docker-sign" not in script.stdout
    assert "--unverified 'publish.sign = false'" in script.stdout
    told = release.publish(PLAIN)
    assert "sign is left out: publish.sign = false; it can't be verified who published it" in told
    states = {gate["gate"]: (gate["state"], gate["detail"]) for gate in release.receipt["gates"]}
    assert states["sign"] == ("left out", "publish.sign = false")
    assert sorted(release.tags[0]) == TAGS
    assert not any(target["signed_by"] for target in release.receipt["targets"].values())
    done = release.invoke("docker-promote", release.receipt["digest"], "stable")
    assert done.returncode == 0, done.stderr
    assert "nothing is verified: publish.sign = false" in done.stderr
    done = release.invoke("docker-verify", f"{release.hosts['one']}/{PATH}:1.2.3")
    assert done.returncode == 2
    assert "publish.sign = false" in done.stderr


def test_a_backport_moves_only_its_own_line(make: Make) -> None:
    release = make()
    release.publish()
    first = release.receipt["digest"]
    release.commit("two", "v1.3.0")
    release.publish()
    second = release.receipt["digest"]
    git(release.root, "checkout", "--quiet", "v1.2.3")
    release.commit("three", "v1.2.4")
    text = release.publish()
    third = release.receipt["digest"]
    expected = {
        "1": second,
        "1.2": third,
        "1.2.3": first,
        "1.2.4": third,
        "1.3": second,
        "1.3.0": second,
        "latest": second,
    }
    assert release.tags == [expected] * 2
    assert f"{PATH}:latest is not moved: 1.3.0 is higher" in text


def test_what_the_registry_holds_counts_where_git_knows_nothing(make: Make) -> None:
    release = make()
    release.commit("two", "v2.0.0")
    release.publish()
    newest = release.receipt["digest"]
    git(release.root, "tag", "--delete", "v2.0.0")
    git(release.root, "checkout", "--quiet", "v1.2.3")
    text = release.publish()
    assert release.tags[0]["latest"] == newest
    assert "2.0.0 is higher (in the registry)" in text
    assert release.tags[0]["1"] == release.receipt["digest"]


def test_a_higher_release_that_comes_meanwhile_keeps_latest(make: Make) -> None:
    release, other = make(), make("other")
    other.commit("two", "v2.0.0")

    def reached(step: str) -> None:
        if step == "gates":
            other.publish()

    release.publish(reached=reached)
    assert release.tags[0]["latest"] == other.receipt["digest"]
    assert release.tags[0]["1.2.3"] == release.receipt["digest"]
    assert release.receipt["targets"]["one"]["held_back"]["latest"].startswith("2.0.0 is higher")


def test_what_is_no_release_is_refused_before_anybody_is_asked(make: Make) -> None:
    release = make()
    (release.root / "program").write_text("changed", encoding="utf-8")
    for server in release.servers:
        assert server.tags(PATH) == {}
    with pytest.raises(InputError, match="not committed"):
        release.publish()
    git(release.root, "checkout", "--quiet", "program")
    (release.root / "left.txt").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"left\.txt"):
        release.publish()
    (release.root / "left.txt").unlink()
    git(release.root, "commit", "--quiet", "--allow-empty", "--message", "further")
    with pytest.raises(InputError, match="HEAD is not on a release tag"):
        release.publish()
    assert release.tags == [{}, {}]
    assert not (release.root / "dist").exists()


def test_a_snapshot_and_an_edge_build_are_published_by_name(make: Make) -> None:
    release = make()
    git(release.root, "commit", "--quiet", "--allow-empty", "--message", "further")
    short = git(release.root, "rev-parse", "--short=7", "HEAD")
    release.publish(UNSIGNED._replace(snapshot=True))
    assert list(release.tags[0]) == [f"1.2.4-SNAPSHOT-{short}"]
    release.publish(UNSIGNED._replace(edge=True))
    assert sorted(release.tags[1]) == [f"1.2.4-SNAPSHOT-{short}", "edge", f"sha-{short}"]
    with pytest.raises(InputError, match="exclude each other"):
        release.publish(UNSIGNED._replace(edge=True, snapshot=True))


def test_an_sbom_that_is_wanted_has_to_be_made(make: Make) -> None:
    release = make()
    config = release.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace('["slsa', '["spdxjson", "slsa'), encoding="utf-8")
    release.commit("wants an SBOM", "v1.2.4")
    with pytest.raises(InputError, match="verify wants spdxjson, and no SBOM"):
        release.publish(PLAIN)
    assert release.tags == [{}, {}]
    # It ended before it did anything, and leaves nothing behind.
    assert not (release.root / "dist").exists()


def test_one_registry_can_be_published_to_alone(make: Make) -> None:
    release = make()
    release.publish(UNSIGNED._replace(registries=("two",)))
    assert [sorted(tags) for tags in release.tags] == [[], TAGS]
    with pytest.raises(InputError, match="did you mean two"):
        release.publish(UNSIGNED._replace(registries=("twoo",)))


def test_a_receipt_of_another_version_is_not_gone_on_from(make: Make) -> None:
    release = make()
    with pytest.raises(InputError, match="nothing to resume"):
        release.publish(UNSIGNED._replace(resume=True))
    release.publish()
    release.commit("two", "v1.3.0")
    with pytest.raises(InputError, match=r"about another version: 1\.2\.3"):
        release.publish(UNSIGNED._replace(resume=True))
    path = release.root / "dist/receipt.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is not a receipt"):
        release.publish(UNSIGNED._replace(resume=True))


def test_another_machine_picks_up_what_was_kept(make: Make) -> None:
    release = make(gates=["size"], provenance=True)

    def reached(step: str) -> None:
        if step == "tag one 1.2.3":
            raise TransientError("the machine is gone")

    # With nothing to pick up it begins.
    picking_up = PLAIN._replace(pick_up=True)
    with pytest.raises(TransientError, match="is gone"):
        release.publish(picking_up, reached=reached)
    digest = release.receipt["digest"]
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
    kept = workflow["jobs"]["images"]["steps"][-1]["with"]["path"].split()
    other = release.root.parent / "other"
    git(release.root, "clone", "--quiet", "--branch=v1.2.3", str(release.root), str(other))
    (other / "dist").mkdir()
    for file in (file for pattern in kept for file in release.root.glob(pattern)):
        shutil.copy2(file, other / "dist")
    text = replace(release, root=other).publish(picking_up)
    assert release.tags == [dict.fromkeys(TAGS, digest)] * 2
    assert "docker buildx build" not in text
    assert "gate size has passed for this image" in text


def test_gates_are_asked_again_where_they_changed_or_the_image_did(make: Make) -> None:
    release = make(gates=("size",))
    release.publish()
    archive = release.root / "dist/thing-1.2.3.oci.tar"
    # Half of one, as a run that was killed leaves it, is none.
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    text = release.publish(UNSIGNED._replace(resume=True))
    assert "docker buildx build" in text
    # Built again it is the same image, and what it passed counts.
    assert "gate size has passed for this image" in text
    config = release.root / "buildlib.toml"
    config.write_text(
        config.read_text(encoding="utf-8") + '[smoke]\nsize-budget = "1 MB"\n', encoding="utf-8"
    )
    git(release.root, "commit", "--all", "--quiet", "--message", "a budget")
    git(release.root, "tag", "--force", "v1.2.3")
    # Another revision is another image: the version is taken.
    with pytest.raises(InputError, match="another revision"):
        release.publish(UNSIGNED._replace(resume=True))
    with pytest.raises(ProblemsError, match="already exists with a different digest") as caught:
        release.publish()
    assert exit_code_of(caught.value) == 7


def test_what_was_passed_yesterday_is_asked_again(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make(gates=["size"])
    release.publish()
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    monkeypatch.setattr(Edge, "today", lambda _: tomorrow)
    text = release.publish(UNSIGNED._replace(resume=True))
    assert "has passed for this image" not in text
    assert "gate size passed" in text


REPRODUCIBLE = """\
FROM --platform=$BUILDPLATFORM {alpine} AS files
ARG SOURCE_DATE_EPOCH
COPY program /out/program
RUN chmod 0644 /out/program && touch -d "@$SOURCE_DATE_EPOCH" /out/program /out
FROM scratch
COPY --from=files /out/ /
USER 1001
"""


@pytest.mark.toolchain
def test_the_archive_has_to_be_what_two_other_builds_give(make: Make, alpine: str) -> None:
    # What it builds without the cache, from files of another time, is in the cache then: another
    # test that builds the same content would get that, and not what it has published.
    release = make(gates=["reproducible"], content=secrets.token_hex(8))
    # The time of a file of the context is in it.
    with pytest.raises(GateError, match="not reproducible"):
        release.publish()
    assert release.tags == [{}, {}]
    text = REPRODUCIBLE.format(alpine=alpine)
    (release.root / "Dockerfile").write_text(text, encoding="utf-8")
    release.commit("again", "v1.2.4")
    release.publish()
    (gate,) = (one for one in release.receipt["gates"] if one["gate"] == "reproducible")
    assert gate["state"] == "passed"
    assert gate["figures"]["digest"] == release.receipt["digest"]
    assert sorted(release.tags[0]) == ["1", "1.2", "1.2.4", "latest"]


def test_a_release_is_compared_with_the_last_one(make: Make) -> None:
    release = make(gates=["diff"])
    assert "this is the first release" in release.publish(UNSIGNED)
    dockerfile = release.root / "Dockerfile"
    text = dockerfile.read_text("utf-8")
    dockerfile.write_text(text.replace("USER 1001", "USER 1002"), "utf-8")
    release.commit("another user", "v1.2.4")
    with pytest.raises(ProblemsError) as caught:
        release.publish(UNSIGNED)
    assert exit_code_of(caught.value) == 7
    assert str(caught.value).count("runs as another user since the last release") == 2
    assert all(sorted(tags) == TAGS for tags in release.tags)
    dockerfile.write_text(text, "utf-8")
    release.commit("the same user", "v1.2.5")
    release.publish(UNSIGNED)
    (gate,) = (one for one in release.receipt["gates"] if one["gate"] == "diff")
    assert gate["figures"]["compared with"] == f"{release.hosts['one']}/{PATH}:1.2.3"
    # Version and revision, and the time where another second has begun.
    changes = gate["figures"]["changes"]["linux/amd64"]
    assert changes.keys() <= {"size", "labels", "layers", "files"}
    assert changes["labels"] in {"2 changed", "3 changed"}


def test_what_a_gate_says_later_is_stated_as_well(make: Make) -> None:
    release, there = make(gates=["size"]), PLAIN._replace(registries=("one",))
    release.publish(there._replace(skips=("size",), reason="first without"))
    release.publish(there._replace(resume=True))
    release.publish(there._replace(resume=True))
    reference = f"{release.hosts['one']}/{PATH}@{release.receipt['digest']}"
    key = str(release.root.parent / "cosign.pub")
    done = subprocess.run(
        [
            *("cosign", "verify-attestation", "--key", key, "--insecure-ignore-tlog=true"),
            *("--type", "slsaprovenance1", reference),
        ],
        env=release.env,
        capture_output=True,
        text=True,
        check=True,
    )
    states = []
    for line in done.stdout.splitlines():
        predicate = json.loads(b64decode(json.loads(line)["payload"]))["predicate"]
        (gate,) = predicate["runDetails"]["byproducts"]
        states.append(gate["annotations"]["state"])
    assert sorted(states) == ["left out", "passed"]


def test_a_commit_is_a_tag_that_never_moves(make: Make) -> None:
    config = make().root
    project = load_config(config, {})
    registry = project.registries[0]
    moving = ["latest", "1", "1.2", "edge", "stable", "sha-thing"]
    staying = ["1.2.3", "1.2.3-rc.1", "sha-abc1234"]
    assert [tag for tag in moving + staying if never_moves(project, registry, tag)] == staying


def test_the_parts_can_be_done_one_by_one(make: Make) -> None:
    release = make()
    host = release.hosts["one"]
    missing = release.invoke("docker-push")
    assert missing.returncode == 2
    assert "there is no archive of 1.2.3" in missing.stderr
    built = release.invoke("docker-build", "--platform", "all", "--output", "oci")
    assert built.returncode == 0, built.stderr
    pushed = release.invoke("docker-push")
    digest = pushed.stdout.strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), pushed.stderr
    assert release.tags == [{}, {}]
    early = release.invoke("docker-promote", digest, "1.2.3")
    assert early.returncode == 8
    assert "is not signed" in early.stderr
    assert release.tags == [{}, {}]
    for one in release.hosts.values():
        signed = release.invoke("docker-sign", f"{one}/{PATH}@{digest}")
        assert signed.returncode == 0, signed.stderr
    # Promoted without the statement that is wanted: still not.
    assert release.invoke("docker-promote", digest, "1.2.3").returncode == 8
    statement = release.root / "dist/statement.json"
    statement.write_text('{"buildDefinition": {}, "runDetails": {}}', encoding="utf-8")
    for one in release.hosts.values():
        attest = f"slsaprovenance1={statement}"
        signed = release.invoke("docker-sign", f"{one}/{PATH}@{digest}", "--attest", attest)
        assert signed.returncode == 0, signed.stderr
    done = release.invoke("docker-promote", digest, "1.2.3", "--json")
    assert done.returncode == 0, done.stderr
    assert release.tags == [{"1.2.3": digest}] * 2
    assert json.loads(done.stdout)["tags"][0] == {
        "reference": f"{host}/{PATH}:1.2.3",
        "before": "",
    }
    assert release.invoke("docker-promote", "sha256:12", "1.2.3").returncode == 2
    assert release.invoke("docker-promote", digest, "no tag").returncode == 2


def test_latest_goes_back_to_the_release_before_that_is_signed(make: Make) -> None:
    release = make()
    release.publish(UNSIGNED)
    unsigned = release.receipt["digest"]
    release.commit("two", "v1.2.4")
    release.publish(PLAIN)
    good = release.receipt["digest"]
    release.commit("three", "v1.3.0")
    release.publish(PLAIN)
    bad = release.receipt["digest"]
    plan = release.invoke("docker-rollback", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert f"docker-promote {good} latest --registry one" in plan.stdout
    assert release.tags[0]["latest"] == bad
    done = release.invoke("docker-rollback")
    assert done.returncode == 0, done.stderr
    expected = {
        "1": good,
        "1.2": good,
        "1.2.3": unsigned,
        "1.2.4": good,
        "1.3": bad,
        "1.3.0": bad,
        "latest": good,
    }
    assert release.tags == [expected] * 2
    again = release.invoke("docker-rollback", "--version", "1.2.4")
    assert (again.returncode, again.stdout.strip()) == (0, "nothing to do")
    # Nothing goes back to what nobody signed, nor to what was never released.
    refused = release.invoke("docker-rollback", "--version", "1.2.3")
    assert refused.returncode == 8
    assert "is not signed" in refused.stderr
    for version in ("9.9.9", "1.3.0-rc.1", "nonsense"):
        assert release.invoke("docker-rollback", "--version", version).returncode == 2
    assert release.tags == [expected] * 2
    forward = release.invoke("docker-rollback", "--version", "1.3.0")
    assert forward.returncode == 0, forward.stderr
    assert release.tags[0]["latest"] == bad


def _with_variables(release: Release) -> None:
    config = release.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    text = text.replace(
        "[registries.one]", '[registries.one]\nusername-env = "WHO"\npassword-env = "WITH"'
    )
    config.write_text(text, encoding="utf-8")


def test_docker_is_signed_in_with_what_the_variables_hold(make: Make, tmp_path: Path) -> None:
    release = make()
    _with_variables(release)
    empty = {"DOCKER_CONFIG": str(tmp_path / "empty"), "WHO": USER, "WITH": PASSWORD}
    done = release.invoke("docker-login", "--registry", "one", **empty)
    assert done.returncode == 0, done.stderr
    assert "docker is signed in as" in done.stdout
    stored = json.loads((tmp_path / "empty/config.json").read_text(encoding="utf-8"))
    assert release.hosts["one"] in stored["auths"]
    again = release.invoke(
        "docker-login", "--registry", "one", DOCKER_CONFIG=empty["DOCKER_CONFIG"]
    )
    assert "has credentials already" in again.stdout
    wrong = release.invoke("docker-login", "--registry", "one", **{**empty, "WITH": "wrong"})
    assert wrong.returncode == 5
    none = release.invoke("docker-login", DOCKER_CONFIG=str(tmp_path / "none"))
    assert none.returncode == 5
    assert "set WHO and WITH" in none.stderr
    assert PASSWORD not in "".join(release.printed)
    dry = release.invoke("docker-login", "--dry-run", **empty)
    assert f'printf %s "$WITH" | docker login {release.hosts["one"]}' in dry.stdout


def test_docker_that_is_not_signed_in_says_why(make: Make, tmp_path: Path) -> None:
    release = make()
    _with_variables(release)
    store = tmp_path / "helped"
    store.mkdir()
    (store / "config.json").write_text('{"credsStore": "nowhere"}', encoding="utf-8")
    known = {"DOCKER_CONFIG": str(store), "WHO": USER, "WITH": PASSWORD}
    helped = release.invoke("docker-login", "--registry", "one", **known)
    assert helped.returncode == 3, helped.stderr
    assert "docker-credential-nowhere" in helped.stderr
    config = release.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    down = f"127.0.0.1:{free_port()}"
    config.write_text(text.replace(release.hosts["one"], down), encoding="utf-8")
    silent = release.invoke("docker-login", "--registry", "one", **known)
    assert silent.returncode == 6, silent.stderr
    assert f"{down} does not answer docker" in silent.stderr
