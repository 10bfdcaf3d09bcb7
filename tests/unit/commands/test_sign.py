"""What is signed as a release: nothing but what the project says that it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from buildlib.commands.sign import release_problems
from buildlib.config.tables import Registry
from buildlib.errors import exit_code_of
from buildlib.git.facts import Changes
from buildlib.image.archive import Image
from buildlib.image.labels import REVISION_LABEL, STAND_INS, VERSION_LABEL
from buildlib.publish.plan import PublishPlan, make_publish_plan
from buildlib.versioning.preconditions import Mode

from fakes import PINNED, REVISION, a_project, git_facts, write_project

CONFIG = 'image = "thing"\nplatforms = ["linux/amd64", "linux/arm64"]\n'
AWAY = Registry(name="away", repository="away.example/thing")
HERE = Registry(name="here", repository="127.0.0.1:5000/thing")
RIGHT = {VERSION_LABEL: "1.2.3", REVISION_LABEL: REVISION}


def _plan(root: Path, more: str = "") -> PublishPlan:
    project = a_project(write_project(root, CONFIG + more), git=git_facts(root=root))
    return make_publish_plan(project, PINNED, Changes(), [AWAY], mode=Mode.RELEASE, in_registry={})


def _image(platform: str, **labels: str) -> Image:
    return Image(
        platform=platform,
        digest="sha256:" + "a" * 64,
        config={"config": {"Labels": {**RIGHT, **labels}}},
        config_digest="",
        config_size=0,
        layers=(),
    )


BOTH = (_image("linux/amd64"), _image("linux/arm64"))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        pytest.param(
            (BOTH[0], _image("linux/arm64", **{VERSION_LABEL: "1.2.2"})),
            "the image for linux/arm64 says that its version is 1.2.2",
            id="another version",
        ),
        pytest.param(
            (_image("linux/amd64", **{REVISION_LABEL: "f" * 40}), BOTH[1]),
            f"the image for linux/amd64 says that its revision is {'f' * 40}",
            id="another commit",
        ),
        pytest.param(
            (BOTH[0], replace(BOTH[1], config={})),
            "the image for linux/arm64 says that its version is none",
            id="somebody else's image, without labels",
        ),
        pytest.param(BOTH[:1], "the image is not for linux/arm64", id="one platform of two"),
        pytest.param(
            (BOTH[0], _image("linux/arm64", **{STAND_INS: "golang:1.24 alpine:3.22"})),
            "on placeholders can't be signed as a release: alpine:3.22, golang:1.24",
            id="stand-ins",
        ),
    ],
)
def test_what_is_no_release_of_the_project_is_signed_as_none(
    tmp_path: Path, images: tuple[Image, ...], words: str
) -> None:
    problems = list(release_problems(images, _plan(tmp_path), AWAY))
    assert problems
    assert words in problems[0].what
    assert {exit_code_of(problem) for problem in problems} == {2}


def test_what_is_one_is(tmp_path: Path) -> None:
    assert list(release_problems(BOTH, _plan(tmp_path), AWAY)) == []


def test_a_test_release_on_this_machine_may_have_stand_ins(tmp_path: Path) -> None:
    images = [_image(name, **{STAND_INS: "alpine:3.22"}) for name in ("linux/amd64", "linux/arm64")]
    assert list(release_problems(images, _plan(tmp_path), HERE)) == []


def test_labels_of_ones_own_are_what_the_image_has_to_say(tmp_path: Path) -> None:
    plan = _plan(tmp_path, f'[labels]\n"{REVISION_LABEL}" = "r17"\n')
    own = [_image(name, **{REVISION_LABEL: "r17"}) for name in ("linux/amd64", "linux/arm64")]
    assert list(release_problems(own, plan, AWAY)) == []
    assert len(list(release_problems(BOTH, plan, AWAY))) == 2
