"""What forbids a publication before anything is asked or built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.commands.publish import add_next_steps
from buildlib.config.publish import Publish, parse_publish
from buildlib.errors import BuildlibError, GateError, InputError, ProblemsError, ToolError
from buildlib.git.facts import Changes
from buildlib.publish.plan import UNSIGNED, PublishPlan, Skip, make_publish_plan, parse_skips
from buildlib.publish.receipt import FAILED, GateRecord, Receipt, new_receipt
from buildlib.versioning.preconditions import Mode

from fakes import a_project, write_project

DIGEST = "sha256:" + "0" * 64
CONFIG = 'image = "thing"\n{more}[registries.one]\nrepository = "{host}/thing"\n'
LOOSE = "FROM golang:1.27 AS compile\nFROM alpine:3.22@{digest}\nCOPY --from={tools} /x /\n"


def _plan(
    root: Path,
    dockerfile: str,
    *,
    host: str = "one.example",
    more: str = "",
    skips: tuple[str, ...] = (),
    mode: Mode = Mode.RELEASE,
    held: Mapping[str, Sequence[str] | None] | None = None,
) -> PublishPlan:
    write_project(root, CONFIG.format(host=host, more=more), dockerfile)
    project = a_project(root)
    return make_publish_plan(
        project,
        project.dockerfile(),
        Changes(),
        project.config.registries,
        mode=mode,
        in_registry=held or {},
        skips=parse_skips(skips, "for a test" if skips else ""),
    )


@pytest.mark.parametrize(
    ("more", "skips", "mode"),
    [
        pytest.param("", (), Mode.RELEASE, id="a release"),
        pytest.param("", ("policy",), Mode.RELEASE, id="without the policy"),
        pytest.param('publish = { gates = ["smoke"] }\n', (), Mode.RELEASE, id="with other gates"),
        pytest.param("", (), Mode.EDGE, id="edge"),
    ],
)
def test_bases_that_are_not_pinned_forbid_it_before_the_build(
    tmp_path: Path, more: str, skips: tuple[str, ...], mode: Mode
) -> None:
    text = LOOSE.format(digest=DIGEST, tools="tools:1")
    with pytest.raises(InputError) as caught:
        _plan(tmp_path, text, more=more, skips=skips, mode=mode)
    assert caught.value.what.endswith("not pinned: tools:1")
    assert "docker-bases --update" in caught.value.hint


def test_a_stage_that_is_not_built_need_not_be_pinned(tmp_path: Path) -> None:
    text = LOOSE.format(digest=DIGEST, tools=f"tools:1@{DIGEST}")
    assert not _plan(tmp_path, text).rehearsal


def test_a_test_release_may_stand_on_anything(tmp_path: Path) -> None:
    assert _plan(tmp_path, "FROM alpine:3.22\n", host="127.0.0.1:5000").rehearsal


def test_signing_is_left_out_by_configuration_with_a_reason(tmp_path: Path) -> None:
    more = "[publish]\nsign = false\n"
    plan = _plan(tmp_path, "FROM scratch\n", more=more)
    assert (plan.signs, plan.gates) == (False, Publish().gates)
    assert plan.skipped == (Skip(gate="sign", reason="publish.sign = false"),)
    # What was left out by name has its own reason.
    plan = _plan(tmp_path, "FROM scratch\n", more=more, skips=("sign", "scan"))
    assert [skip.reason for skip in plan.skipped] == ["for a test"] * 2
    plan = _plan(tmp_path, "FROM scratch\n", more="[publish]\nsign = true\n")
    assert (plan.signs, plan.skipped) == (True, ())


def test_a_configuration_that_signs_and_does_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"publish\.sign = false contradicts sign"):
        parse_publish({"gates": ["sign"], "sign": False})
    assert parse_publish({"gates": ["sign"]}).sign


def test_where_no_tags_are_listed_only_those_that_never_move_are_given(tmp_path: Path) -> None:
    (target,) = _plan(tmp_path, "FROM scratch\n", held={"one": ("0.0.1",)}).targets
    assert target.floating
    (unlisted,) = _plan(tmp_path, "FROM scratch\n", held={"one": None}).targets
    assert unlisted.tags == unlisted.pinned == target.pinned
    held_back = dict(unlisted.held_back)
    assert set(held_back) >= set(target.floating)
    assert all("does not list its tags" in held_back[tag] for tag in target.floating)


def test_a_tag_that_moves_can_not_be_all_that_is_given_there(tmp_path: Path) -> None:
    more = 'tags = { rules = ["latest"] }\n'
    with pytest.raises(InputError, match="latest can't be given") as caught:
        _plan(tmp_path, "FROM scratch\n", held={"one": None}, more=more)
    assert "does not list its tags" in caught.value.why


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("me/thing", "docker.io/me/thing"),
        ("docker.io/thing", "docker.io/library/thing"),
        ("index.docker.io/thing", "library/thing"),
        ("ghcr.io/thing", "ghcr.io/thing"),
    ],
)
def test_two_registries_are_one_however_the_repository_is_written(
    tmp_path: Path, one: str, other: str
) -> None:
    pinned = f"FROM alpine:3.22@{DIGEST}\n"
    more = (
        f'registries = {{ two = {{ repository = "{other}" }}, one = {{ repository = "{one}" }} }}\n'
    )
    write_project(tmp_path, f'image = "thing"\n{more}', pinned)
    project = a_project(tmp_path)
    with pytest.raises(InputError, match="two registries have the same repository"):
        make_publish_plan(
            project,
            project.dockerfile(),
            Changes(),
            project.config.registries,
            mode=Mode.RELEASE,
            in_registry={},
        )


def test_the_reasons_are_told_together(tmp_path: Path) -> None:
    stand_in = '{ source = "oci-layout:///a", stand-in = true }'
    more = f'base-images = {{ "alpine:3.22" = {stand_in} }}\n'
    with pytest.raises(Exception, match="placeholders") as caught:
        _plan(tmp_path, "FROM alpine:3.22\n", more=more)
    assert "not pinned: alpine:3.22" in str(caught.value)


@pytest.mark.parametrize("mode", [Mode.RELEASE, Mode.EDGE])
def test_a_release_that_a_gate_refuses_says_what_follows(tmp_path: Path, mode: Mode) -> None:
    plan = _plan(tmp_path, "FROM scratch\n", mode=mode)
    skips = (Skip(gate="scan", reason="no scanner yet"), Skip(gate="sign", reason=UNSIGNED))
    plan = replace(plan, skipped=skips)
    receipt = new_receipt(a_project(tmp_path).config, plan, started="2026-01-01T00:00:00Z")

    def hint(error: BuildlibError, receipt: Receipt | None) -> str:
        add_next_steps(error, plan, receipt)
        problems = error.problems if isinstance(error, ProblemsError) else (error,)
        return problems[-1].hint

    # Such as a version that exists with another digest.
    assert hint(GateError("refused", hint="fix it"), receipt) == "fix it"
    assert hint(ToolError("no scanner"), None) == ""
    found = [hint(GateError("refused", hint="fix it"), None)]
    receipt.gates = [GateRecord(gate="scan", state=FAILED)]
    found.append(hint(ProblemsError([GateError("a"), GateError("b", hint="fix it")]), receipt))
    assert {one.partition("\n")[0] for one in found} == {"fix it"}
    assert all(("tag patch --push" in one) == (mode is Mode.RELEASE) for one in found)
    again = "docker-publish --skip-gate scan --reason 'no scanner yet'"
    assert all(one.endswith(again) == (mode is Mode.RELEASE) for one in found)
