"""What a publication comes to, what it goes on from, and what it says of itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock

import pytest
from buildrecords import shop
from ociwriter import OciWriter

from buildlib.commands import publish as publish_commands
from buildlib.commands.publish import (
    PublishOptions,
    PublishPlanner,
    begun_from,
    kept_receipt,
)
from buildlib.commands.push import push
from buildlib.commands.session import Edge
from buildlib.config.tables import Registry
from buildlib.errors import BuildlibError, InputError, ProblemsError, ToolError, exit_code_of
from buildlib.executor import NOTHING
from buildlib.git.facts import Changes
from buildlib.image.archive import open_archive
from buildlib.image.labels import STAND_INS, VERSION_LABEL
from buildlib.project import Checkout
from buildlib.publish.dry_run import as_dict, as_script
from buildlib.publish.gates import GateSubject
from buildlib.publish.plan import PublishPlan, Skip, make_publish_plan, parse_skips
from buildlib.publish.provenance import make_statement
from buildlib.publish.publisher import PublishContext, PublishFlow
from buildlib.publish.receipt import (
    GateRecord,
    Receipt,
    TargetRecord,
    built_by,
    fingerprint,
    new_receipt,
    write_receipt,
)
from buildlib.publish.signing import ReleaseSigner
from buildlib.publish.tagger import TagPolicy, archive_problems
from buildlib.records.store import RecordStore, new_id
from buildlib.registry.transport import Transport
from buildlib.terminal.text import to_json
from buildlib.versioning.preconditions import Mode

from fakes import (
    PINNED,
    REVISION,
    FakeExecutor,
    a_console,
    a_project,
    git_facts,
    showing,
    write_project,
)

CONFIG = 'image = "thing"\nplatforms = ["linux/amd64"]\n'
TODAY = date(2026, 1, 31)
DIGEST = "sha256:" + "a" * 64
HASH = "sha256:" + "b" * 64


def a_plan(root: Path, *registries: Registry, config: str = CONFIG, **more: Any) -> PublishPlan:
    """Return the plan of a release; `more` is what else `make_publish_plan` takes."""
    project = a_project(write_project(root, config), git=git_facts(root=root))
    return make_publish_plan(
        project,
        PINNED,
        Changes(),
        registries or (Registry(name="one", repository="one.example/thing"),),
        **{"mode": Mode.RELEASE, "in_registry": {}, **more},
    )


def surroundings(root: Path) -> PublishContext:
    """Return what a publication is given that is not run."""
    console, _, _ = a_console()

    def never() -> Any:
        raise AssertionError

    subject = GateSubject(
        project=a_project(root, git=git_facts(root=root)),
        archive=root / "dist/thing-1.2.3.oci.tar",
        release=True,
        today=TODAY,
        engine=never,
        executor=FakeExecutor(),
        executor_in=lambda _: FakeExecutor(),
        console=console,
    )
    return PublishContext(
        subject=subject,
        repositories={},
        signer=cast("ReleaseSigner", None),
        tag_policy=cast("TagPolicy", None),
        now=lambda: "2026-01-31T12:00:00+00:00",
        versions=never,
        buildkit=never,
        check_unchanged=never,
        cancel=never,
        files=never,
    )


def _receipt(plan: PublishPlan, root: Path) -> Receipt:
    return new_receipt(a_project(root).config, plan, started="2026-01-30T12:00:00+00:00")


def test_a_snapshot_of_other_files_is_not_gone_on_from(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, uncommitted=HASH)
    before = _receipt(plan, tmp_path)
    before.digest = DIGEST
    assert PublishFlow(plan, surroundings(tmp_path), before).receipt.digest == DIGEST
    for other in ("", "sha256:" + "c" * 64):
        with pytest.raises(InputError, match="the files have changed since that receipt"):
            PublishFlow(replace(plan, uncommitted=other), surroundings(tmp_path), before)


TWO = """
[registries.local]
repository = "127.0.0.1:5000/thing"
[registries.away]
repository = "away.example/thing"
"""


@pytest.mark.parametrize("options", [PublishOptions(resume=True), PublishOptions(pick_up=True)])
def test_what_a_test_release_has_skipped_is_not_skipped_in_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: PublishOptions
) -> None:
    plan, skips = a_plan(tmp_path, config=CONFIG + TWO), [Skip(gate="sign", reason="a trial")]
    write_project(tmp_path, CONFIG + TWO, "FROM scratch\nUSER 1001\n")
    project = a_project(tmp_path, git=git_facts(root=tmp_path))
    left = [GateRecord(gate="sign", state="left out", detail="a trial")]
    monkeypatch.setattr(publish_commands, "changes_of", lambda _: Changes())
    run = cast("Edge", SimpleNamespace(project=lambda: project))

    def skipped(*registries: str) -> list[Skip]:
        chosen = options._replace(registries=registries)
        return [*PublishPlanner(run, chosen).plan({}).skipped]

    for rehearsal in (True, False):
        kept = replace(_receipt(plan, tmp_path), rehearsal=rehearsal, gates=left)
        write_receipt(tmp_path / "dist/receipt.json", kept)
        assert skipped("local") == skips
        for public in (("away",), ("local", "away"), ()):
            assert skipped(*public) == ([] if rehearsal else skips)


LEFT: dict[str, dict[str, Any] | None] = {
    "nothing": None,
    "a finished release": {"digest": DIGEST, "finished": True},
    "one that broke off": {"digest": DIGEST},
    "one that was never built": {},
    "one of another version": {"digest": DIGEST, "version": "1.2.2"},
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("resumed", [True, False])
def test_an_attempt_that_ends_before_it_does_anything_writes_no_receipt(
    tmp_path: Path, left: str, *, resumed: bool
) -> None:
    plan, changes, path = a_plan(tmp_path), LEFT[left], tmp_path / "dist/receipt.json"
    kept = None if changes is None else replace(_receipt(plan, tmp_path), **changes)
    if kept:
        kept.targets = {"one": TargetRecord(repository="one.example/thing", digest=kept.digest)}
        write_receipt(path, kept)
    written = path.read_bytes() if kept else b""
    before = kept if kept and kept.version == plan.version else None
    flow = PublishFlow(plan, surroundings(tmp_path), before if resumed else None, before)
    # What it asks of the tools here ends it.
    with pytest.raises(AssertionError):
        flow.run()
    assert flow.receipt.ended
    assert not flow.begun
    assert (path.read_bytes() if path.exists() else b"") == written
    assert [one.name for one in tmp_path.glob("dist/*")] == ["receipt.json"] * bool(kept)


def test_what_became_public_before_is_known_to_an_attempt_that_begins(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    kept = _receipt(plan, tmp_path)
    kept.targets = {"one": TargetRecord(repository="one.example/thing", digest=DIGEST)}
    flow = PublishFlow(plan, surroundings(tmp_path), None, kept)
    assert (flow.receipt.digest, flow.receipt.targets) == ("", kept.targets)
    kept.revision = "f" * 40
    assert PublishFlow(plan, surroundings(tmp_path), None, kept).receipt.targets == {}


@pytest.mark.parametrize(
    ("wanted", "version", "revision", "taken"),
    [
        (PublishOptions(), "1.2.3", REVISION, False),
        (PublishOptions(resume=True), "1.2.3", REVISION, True),
        (PublishOptions(pick_up=True), "1.2.3", REVISION, True),
        (PublishOptions(pick_up=True), "1.2.3", "f" * 40, False),
        (PublishOptions(pick_up=True), "1.2.2", REVISION, False),
        (PublishOptions(resume=True), "1.2.2", REVISION, True),
    ],
)
def test_picking_up_begins_beside_the_receipt_of_another_release(
    tmp_path: Path, wanted: PublishOptions, version: str, revision: str, *, taken: bool
) -> None:
    plan = a_plan(tmp_path)
    last = replace(_receipt(plan, tmp_path), version=version, revision=revision)
    write_receipt(tmp_path / "dist/receipt.json", last)
    kept = kept_receipt(plan, wanted)
    assert kept == (last if version == "1.2.3" else None)
    # That of another version is what says that it can't be resumed.
    assert begun_from(plan, wanted, kept) == (last if taken else None)


def test_the_statement_says_that_files_differ_from_the_commit(tmp_path: Path) -> None:
    clean = a_plan(tmp_path)
    project = a_project(tmp_path)

    def source(plan: PublishPlan) -> Any:
        statement = make_statement(project, plan, _receipt(plan, tmp_path))
        return statement["buildDefinition"]["resolvedDependencies"][0]

    assert source(clean) == {"uri": "git", "digest": {"gitCommit": clean.revision}}
    dirty = source(replace(clean, uncommitted=HASH))
    assert dirty["annotations"] == {"dirty": True, "uncommitted": HASH}


def _vex(root: Path) -> None:
    (root / "vex.json").write_text("{}", encoding="utf-8")


def _sizes(root: Path) -> None:
    (root / "sizes.json").write_text("{}", encoding="utf-8")


def _budget(root: Path) -> None:
    path = root / "buildlib.toml"
    path.write_text(path.read_text("utf-8").replace("1 MB", "2 MB"), encoding="utf-8")


ASKED_AGAIN: dict[str, tuple[Callable[[Path], object], dict[str, Any]]] = {
    "a VEX file": (_vex, {}),
    "the record of sizes": (_sizes, {}),
    "the configuration": (_budget, {}),
    "the day": (lambda _: None, {"today": date(2026, 2, 1)}),
    "the rules of a release": (lambda _: None, {"release": False}),
}


@pytest.mark.parametrize(("change", "options"), ASKED_AGAIN.values(), ids=ASKED_AGAIN)
def test_gates_are_asked_again_where_this_changed(
    tmp_path: Path, change: Callable[[Path], object], options: dict[str, Any]
) -> None:
    text = f'{CONFIG}[scan]\nvex = ["vex.json"]\n[smoke]\nsize-budget = "1 MB"\n'
    write_project(tmp_path, f'{text}size-record = "sizes.json"\n')
    usual: dict[str, Any] = {"today": TODAY, "release": True}
    before = fingerprint(a_project(tmp_path).config, DIGEST, **usual)
    assert fingerprint(a_project(tmp_path).config, DIGEST, **usual) == before
    assert fingerprint(a_project(tmp_path).config, HASH, **usual) != before
    change(tmp_path)
    assert fingerprint(a_project(tmp_path).config, DIGEST, **(usual | options)) != before


# --- what it was built from ------------------------------------------------------------------

BASES = "FROM golang:1.24 AS compile\nFROM alpine:3.22@{0}\nCOPY --from=compile /x /x\n"
REPLACED = """
[base-images]
"golang:1.24" = "docker-image://mirror.example/golang:1.24@{0}"
"alpine:3.22" = {{ source = "oci-layout://{1}", stand-in = true }}
"""


def _resolved(root: Path, config: str = CONFIG) -> list[Any]:
    write_project(root, config, BASES.format(DIGEST))
    project = a_project(root)
    here = Registry(name="one", repository="127.0.0.1:5000/thing")
    plan = make_publish_plan(
        project, project.dockerfile(), Changes(), [here], mode=Mode.RELEASE, in_registry={}
    )
    statement = make_statement(project, plan, _receipt(plan, root))
    return list(statement["buildDefinition"]["resolvedDependencies"][1:])


def test_the_statement_names_the_bases(tmp_path: Path) -> None:
    assert _resolved(tmp_path) == [
        {"uri": "docker:alpine:3.22", "digest": {"sha256": "a" * 64}},
        {"uri": "docker:golang:1.24"},
    ]


def test_the_statement_names_what_a_base_was_replaced_by(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layout.mkdir()
    config = CONFIG + REPLACED.format(HASH, layout)
    expected: list[Any] = [
        {
            "uri": "oci-layout",
            "annotations": {"replaces": f"alpine:3.22@{DIGEST}", "standIn": True},
        },
        {
            "uri": "docker:mirror.example/golang:1.24",
            "digest": {"sha256": "b" * 64},
            "annotations": {"replaces": "golang:1.24", "standIn": False},
        },
    ]
    assert _resolved(tmp_path, config) == expected
    index = {"manifests": [{"digest": HASH}]}
    (layout / "index.json").write_text(json.dumps(index), encoding="utf-8")
    expected[0]["digest"] = {"sha256": "b" * 64}
    found = _resolved(tmp_path, config)
    assert found == expected
    assert str(tmp_path) not in str(found)


def test_the_statement_names_what_replaced_a_base_of_an_image_below(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)
    mirror = f"docker-image://mirror.example/alpine:3.22@{HASH}"
    lowest = replace(plan.build, bases=("alpine:3.22",), build_contexts=(("alpine:3.22", mirror),))
    middle = replace(plan.build, bases=("alpine:3.22",), below=(("lowest:local", lowest),))
    build = replace(plan.build, bases=(), below=(("middle:local", middle),))
    plan = replace(plan, build=build)
    statement = make_statement(a_project(tmp_path), plan, _receipt(plan, tmp_path))
    assert statement["buildDefinition"]["resolvedDependencies"][1:] == [
        {"uri": "docker:alpine:3.22"},
        {
            "uri": "docker:mirror.example/alpine:3.22",
            "digest": {"sha256": "b" * 64},
            "annotations": {"replaces": "alpine:3.22", "standIn": False},
        },
    ]


def test_the_statement_names_options_and_contexts_and_no_path_of_this_machine(
    tmp_path: Path,
) -> None:
    table = '[build]\nnetwork = "none"\nssh = ["key=id"]\n[build.contexts]\nextra = "app"\n'
    config = CONFIG + table + 'notes = "https://example.org/notes.git"\n'
    plan = a_plan(tmp_path, HERE, config=config)
    statement = make_statement(a_project(tmp_path), plan, _receipt(plan, tmp_path))
    found = statement["buildDefinition"]["externalParameters"]
    assert found["options"] == ["--network none"]
    assert found["contexts"] == {
        "extra": "a directory of the commit",
        "notes": "https://example.org/notes.git",
    }
    assert str(tmp_path) not in str(found)


# --- what must not be published --------------------------------------------------------------

AWAY = Registry(name="away", repository="away.example/thing")
HERE = Registry(name="here", repository="127.0.0.1:5000/thing")


def test_one_repository_is_published_to_once(tmp_path: Path) -> None:
    twice = replace(AWAY, name="again")
    with pytest.raises(InputError, match=r"two registries have the same repository away\.example"):
        a_plan(tmp_path, AWAY, HERE, twice)


def test_stand_ins_are_published_nowhere_but_here(tmp_path: Path) -> None:
    source = '"alpine:3.22" = { source = "oci-layout:///x", stand-in = true }\n'
    config = f"{CONFIG}[base-images]\n{source}"
    assert a_plan(tmp_path, HERE, config=config).rehearsal
    with pytest.raises(InputError, match=r"on placeholders can't be published: alpine:3\.22"):
        a_plan(tmp_path, HERE, AWAY, config=config)


def _archive(root: Path, *platforms: str, **labels: str) -> Path:
    writer = OciWriter()
    images = [
        writer.image([], platform=tuple(name.split("/")), config={"Labels": labels})
        for name in platforms
    ]
    return writer.write(root / "i.tar", writer.index(*images))


def test_stand_ins_are_pushed_nowhere_but_here(tmp_path: Path) -> None:
    tables = f'{CONFIG}[registries.away]\nrepository = "{AWAY.repository}"\n'
    write_project(tmp_path, tables)
    archive = _archive(tmp_path, "linux/amd64", **{STAND_INS: "alpine:3.22 golang:1.24"})
    run = Edge(tmp_path, {}, dry=False, quiet=True)
    with pytest.raises(InputError, match=r"can't be pushed: alpine:3\.22, golang:1\.24"):
        push(run, str(archive), (), as_json=False)


def test_a_push_of_fewer_platforms_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody listens there, and no attempt is worth waiting for.
    monkeypatch.setattr(Transport, "pause", lambda *_: None)
    both = CONFIG.replace('"]', '", "linux/arm64"]')
    write_project(tmp_path, f'{both}[registries.here]\nrepository = "127.0.0.1:1/thing"\n')
    archive = _archive(tmp_path, "linux/amd64")
    with pytest.raises(BuildlibError):
        push(Edge(tmp_path, {}, dry=False, quiet=True), str(archive), (), as_json=False)
    assert "is not for linux/arm64, as the configuration has it" in capsys.readouterr().err


def test_all_that_forbids_a_release_is_told_at_once(tmp_path: Path) -> None:
    source = '"alpine:3.22" = { source = "oci-layout:///x", stand-in = true }\n'
    write_project(tmp_path, f"{CONFIG}[base-images]\n{source}", "FROM alpine:3.22\n")
    project = a_project(tmp_path, git=git_facts(head_tags=(), distance=3))
    with pytest.raises(ProblemsError) as caught:
        make_publish_plan(
            project,
            project.dockerfile(),
            Changes(),
            [AWAY, AWAY],
            mode=Mode.RELEASE,
            in_registry={},
        )
    told = str(caught.value)
    assert "not a release" in told
    assert "on placeholders can't be published" in told
    assert "not pinned" in told
    assert "two registries have the same repository" in told


@pytest.mark.parametrize(
    ("platforms", "version", "words"),
    [
        (("linux/amd64",), "1.2.3", "the archive is not for linux/arm64"),
        (("linux/amd64", "linux/arm64"), "1.2.4", "version 1.2.4 in its label"),
        (("linux/amd64", "linux/arm64"), "", "version none in its label"),
    ],
)
def test_an_archive_of_something_else(
    tmp_path: Path, platforms: tuple[str, ...], version: str, words: str
) -> None:
    both = 'image = "thing"\nplatforms = ["linux/amd64", "linux/arm64"]\n'
    plan = a_plan(tmp_path, config=both)
    labels = {VERSION_LABEL: version} if version else {}
    with open_archive(_archive(tmp_path, *platforms, **labels)) as archive:
        problems = archive_problems(archive.images(), plan)
    assert problems
    assert all(exit_code_of(problem) == 7 for problem in problems)
    assert words in str(problems[0])
    good = _archive(tmp_path, "linux/amd64", "linux/arm64", **{VERSION_LABEL: "1.2.3"})
    with open_archive(good) as archive:
        assert archive_problems(archive.images(), plan) == []


def test_an_archive_of_a_test_release_stays_here(tmp_path: Path) -> None:
    # Whatever is configured by now, and whatever gates are left out.
    labels = {VERSION_LABEL: "1.2.3", STAND_INS: "golang:1.24 alpine:3.22"}
    with open_archive(_archive(tmp_path, "linux/amd64", **labels)) as archive:
        assert archive_problems(archive.images(), a_plan(tmp_path, HERE)) == []
        (problem,) = archive_problems(archive.images(), a_plan(tmp_path, HERE, AWAY))
    assert exit_code_of(problem) == 2
    assert "on placeholders can't be published: alpine:3.22, golang:1.24" in str(problem)


def test_how_an_archive_was_built_is_told_apart_and_not_where(tmp_path: Path) -> None:
    def built(folder: str, config: str = CONFIG) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        plan = a_plan(tmp_path / folder, HERE, config=config)
        return built_by(plan.build, tmp_path / folder)

    assert built("one") == built("two")
    replaced = '[base-images]\n"alpine:3.22" = "docker-image://mirror.example/alpine:3.22"\n'
    assert built("one", CONFIG + replaced) != built("one")
    assert built("one", f'{CONFIG}build-args = {{ FLAVOUR = "x" }}\n') != built("one")


def test_the_files_of_a_commit_are_told_apart_by_what_is_beside_them(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, HERE).build

    def built(folder: str, *included: tuple[str, str]) -> str:
        made = Checkout(folder=tmp_path / folder, top=tmp_path, included=included)
        there = replace(plan, checkout=made, context=made.root, dockerfile=made.root / "Dockerfile")
        return built_by(there, tmp_path)

    assert built("one") == built("another")
    assert built("one") != built_by(plan, tmp_path)
    assert len({built("one"), built("one", ("gen", DIGEST)), built("one", ("gen", "x"))}) == 3


def test_the_statement_and_the_receipt_name_what_the_commit_does_not_have(tmp_path: Path) -> None:
    made = Checkout(folder=tmp_path, top=tmp_path, included=(("gen/a.js", DIGEST),))
    plan = a_plan(tmp_path)
    plan = replace(plan, build=replace(plan.build, checkout=made))
    receipt = _receipt(plan, tmp_path)
    assert receipt.as_dict()["included"] == {"gen/a.js": DIGEST}
    statement = make_statement(a_project(tmp_path), plan, receipt)
    assert statement["buildDefinition"]["resolvedDependencies"][1] == {
        "name": "gen/a.js",
        "digest": {"sha256": DIGEST.removeprefix("sha256:")},
        "annotations": {"inCommit": False},
    }


def test_a_registry_that_is_another_one_by_now_begins_anew(tmp_path: Path) -> None:
    plan = a_plan(tmp_path, AWAY, HERE)
    before = _receipt(plan, tmp_path)
    records = {
        "away": TargetRecord(repository=AWAY.repository, digest=DIGEST),
        "here": TargetRecord(repository="elsewhere.example/thing", digest=DIGEST),
        "gone": TargetRecord(repository="gone.example/thing", digest=DIGEST),
    }
    before.targets = records
    found = PublishFlow(plan, surroundings(tmp_path), before).receipt.targets
    assert found == {"away": records["away"], "gone": records["gone"]}


def test_a_statement_holds_no_credentials(tmp_path: Path) -> None:
    config = f'{CONFIG}build-args = {{ PROXY = "https://me:hunter2@proxy.example/x" }}\n'
    plan = a_plan(tmp_path, HERE, config=config)
    receipt = _receipt(plan, tmp_path)
    reason = "see https://me:hunter2@tracker.example/1"
    receipt.gates = [GateRecord(gate="scan", state="left out", detail=reason)]
    text = to_json(make_statement(a_project(tmp_path), plan, receipt))
    assert "https://***@proxy.example/x" in text
    assert "https://***@tracker.example/1" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("reason", ["one\ntwo", "\x1b[2J", "tab\there"])
def test_a_reason_is_one_line(reason: str) -> None:
    with pytest.raises(InputError, match="--reason is one line of text"):
        parse_skips(["scan"], reason)


def test_only_the_lock_tells_of_another_publication(tmp_path: Path) -> None:
    plan = a_plan(tmp_path)

    def would_block(_: str) -> None:
        raise BlockingIOError("the terminal is full")

    around = replace(surroundings(tmp_path), reached=would_block)
    with pytest.raises(BlockingIOError, match="the terminal is full"):
        PublishFlow(plan, around).run()


def test_that_the_machine_and_the_registries_are_checked_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = showing(monkeypatch)
    with pytest.raises(AssertionError):
        PublishFlow(a_plan(tmp_path), surroundings(tmp_path)).run()
    assert shown == ["checking what the release needs"]


# --- the plan as data ------------------------------------------------------------------------


def test_the_plan_is_told_to_programs(tmp_path: Path) -> None:
    skips = (Skip(gate="sign", reason="no key yet"),)
    plan = a_plan(tmp_path, AWAY, replace(HERE, required=False), skips=skips)
    told = json.loads(to_json(as_dict(plan, tmp_path)))
    assert (told["image"], told["version"], told["mode"]) == ("thing", "1.2.3", "release")
    assert told["archive"] == "dist/thing-1.2.3.oci.tar"
    assert told["gates"] == ["smoke", "policy", "size", "scan", "sbom"]
    assert told["skipped"] == [{"gate": "sign", "reason": "no key yet"}]
    assert (told["signs"], told["rehearsal"]) == (False, False)
    assert told["targets"][1] == {
        "name": "here",
        "repository": HERE.repository,
        "required": False,
        "tags": ["1.2.3", "1.2", "1", "latest"],
        "floating": ["1.2", "1", "latest"],
        "held_back": {},
    }
    script = as_script(plan, tmp_path)
    commands = [step["command"] for step in told["steps"]]
    assert all(command in script for command in commands)
    assert (
        "invoke docker-promote \"$DIGEST\" 1.2.3 --registry away --unverified 'no key yet'"
        in commands
    )


def test_nothing_gets_out_of_a_comment_of_the_script(tmp_path: Path) -> None:
    breaks = "\ntouch out #", "\rtouch out", "\x1b]0;out\x07", "\x85touch out", "\u2028touch out"
    name = "reg" + "".join(breaks)
    plan = a_plan(tmp_path, replace(AWAY, name=name), skips=(Skip(gate="sign", reason=name),))
    (target,) = plan.targets
    held = tuple(("latest", f"only on x{text}, and this is main") for text in breaks)
    plan = replace(plan, targets=(replace(target, held_back=held),), version=f"1{breaks[0]}")
    script = as_script(plan, tmp_path)
    comments = [line for line in script.split("\n") if line.startswith("#")]
    assert all(line.isprintable() for line in comments)
    assert sum("is not moved" in line for line in comments) == len(breaks)
    # What is left without comments is as quoted as before: words of a shell.
    rest = "\n".join(line for line in script.split("\n") if not line.startswith("#"))
    assert "touch" not in shlex.split(rest)


def test_a_release_is_built_without_the_cache_unless_it_is_asked_for(tmp_path: Path) -> None:
    for text, no_cache in (("", True), ("[publish]\ncache = true\n", False)):
        plan = a_plan(tmp_path, config=CONFIG + text)
        assert plan.build.no_cache is no_cache
        assert ("--no-cache" in as_script(plan, tmp_path)) is no_cache


RECORDED = f'{CONFIG}records = {{ directory = "records" }}\n'


def _published(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: Callable[[PublishFlow], None],
    env: Mapping[str, str] = NOTHING,
) -> tuple[str, str, str]:
    """Return the answer of a publication whose flow ends like that, its notes and its farewell."""
    console, out, err = a_console()
    run = SimpleNamespace(
        console=console, dry=False, executor=None, close=None, env=env, farewell=""
    )
    planner = MagicMock()
    planner.return_value.plan.return_value = a_plan(root, config=RECORDED)
    subject = surroundings(root).subject
    planner.return_value.project = subject.project
    monkeypatch.setattr(publish_commands, "PublishPlanner", planner)
    monkeypatch.setattr(publish_commands, "_preconditions", lambda *_: ())
    monkeypatch.setattr(publish_commands, "gate_subject", lambda *_, **__: subject)
    monkeypatch.setattr(PublishFlow, "run", ending)
    with suppress(KeyboardInterrupt):
        publish_commands.publish(cast("Edge", run), PublishOptions())
    return out.getvalue(), err.getvalue(), run.farewell


def test_an_interrupt_says_how_to_finish_what_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(flow: PublishFlow) -> None:
        flow._begun = True
        raise KeyboardInterrupt

    answer, _, farewell = _published(tmp_path, monkeypatch, stop)
    assert farewell == "error: interrupted\n  invoke docker-publish --resume finishes it"
    assert "digest" in answer


def test_there_is_no_table_of_a_publication_that_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: PublishFlow) -> None:
        raise KeyboardInterrupt

    assert _published(tmp_path, monkeypatch, stop) == ("", "", "")


def _recorded(root: Path) -> RecordStore:
    """Return records with one of the build that is published."""
    store = RecordStore(root / "records", keep=3, days=9)
    gates = ({"gate": "smoke", "state": "passed"},)
    record = replace(shop()[0], id=new_id(), task="docker-publish", image="thing", gates=gates)
    store.write(replace(record, version="1.2.3"))
    return store


def test_the_record_of_a_build_has_what_became_of_its_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, summary = _recorded(tmp_path), tmp_path / "summary"
    for begun in (False, True):

        def end(flow: PublishFlow, *, begun: bool = begun) -> None:
            flow.receipt.gates = [GateRecord(gate="scan", state="failed")]
            flow._begun = begun

        _published(tmp_path, monkeypatch, end, {"GITHUB_STEP_SUMMARY": str(summary)})
        # One that did not come past its preconditions changes nothing.
        (record,) = store.usable()
        assert record.gates == (
            {"gate": "scan", "state": "failed"} if begun else {"gate": "smoke", "state": "passed"},
        )
        assert summary.exists() is begun


@pytest.mark.parametrize("error", [InputError("no room"), RuntimeError("no room")])
def test_a_record_that_can_not_be_kept_fails_no_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def end(flow: PublishFlow) -> None:
        flow._begun = flow.receipt.finished = True

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(publish_commands, "open_store", fail)
    answer, said, _ = _published(tmp_path, monkeypatch, end)
    assert "1.2.3" in answer
    assert said == "no record or summary has the outcome of this publication: no room\n"


def test_what_is_left_of_a_finished_release_is_named(tmp_path: Path) -> None:
    config = f'{CONFIG}[publish]\nsign = false\ngates = ["scan"]\n'
    plan, given = a_plan(tmp_path, config=config), surroundings(tmp_path)
    console, _, err = a_console()
    subject = replace(given.subject, console=console)
    repositories = cast("Any", {"one": MagicMock()})
    context = replace(given, subject=subject, repositories=repositories, versions=dict)
    before = replace(_receipt(plan, tmp_path), finished=True)
    # There are no programs here.
    with pytest.raises(ToolError, match="not found"):
        PublishFlow(plan, context, before, before).run()
    assert err.getvalue() == "1.2.3 is published already; left to run: scan\n"
