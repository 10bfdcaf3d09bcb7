"""What a publication comes to, what it goes on from, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

from buildlib.errors import InputError
from buildlib.publish.fingerprint import fingerprint
from buildlib.publish.flow import PublishFlow, Signer, Surroundings
from buildlib.publish.gates import Subject
from buildlib.publish.plan import PublishPlan, make_publish_plan
from buildlib.publish.receipt import Receipt, new_receipt
from buildlib.publish.statement import make_statement
from buildlib.refusals import Mode
from buildlib.settings import Registry
from buildlib.vcs import Changes

from fakes import FakeExecutor, a_console, a_project, git_facts, write_project

CONFIG = 'image = "thing"\nplatforms = ["linux/amd64"]\n'
TODAY = date(2026, 1, 31)
DIGEST = "sha256:" + "a" * 64
HASH = "sha256:" + "b" * 64


def a_plan(root: Path, *registries: Registry, config: str = CONFIG, **more: Any) -> PublishPlan:  # noqa: ANN401 - the plan's own
    """Return the plan of a release; `more` is what else `make_publish_plan` takes."""
    project = a_project(write_project(root, config), git=git_facts(root=root))
    return make_publish_plan(
        project,
        project.dockerfile(),
        Changes(),
        registries or (Registry(name="one", repository="one.example/thing"),),
        **{"mode": Mode.RELEASE, "in_registry": {}, **more},
    )


def surroundings(root: Path) -> Surroundings:
    """Return what a publication is given that is not run."""
    console, _, _ = a_console()

    def never() -> Any:  # noqa: ANN401 - it returns nothing
        raise AssertionError

    subject = Subject(
        project=a_project(root, git=git_facts(root=root)),
        archive=root / "dist/thing-1.2.3.oci.tar",
        release=True,
        today=TODAY,
        engine=never,
        executor=FakeExecutor(),
        executor_in=lambda _: FakeExecutor(),
        console=console,
    )
    return Surroundings(
        subject=subject,
        repositories={},
        signer=cast("Signer", None),
        replan=lambda _: never(),
        now=lambda: "2026-01-31T12:00:00+00:00",
        versions=never,
        cancel=never,
        settle=never,
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


def test_the_statement_says_that_files_differ_from_the_commit(tmp_path: Path) -> None:
    clean = a_plan(tmp_path)
    project = a_project(tmp_path)

    def source(plan: PublishPlan) -> Any:  # noqa: ANN401 - JSON
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
