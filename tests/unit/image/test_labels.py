"""Labels of ours, also of images and containers that an earlier version made."""

from __future__ import annotations

import pytest

from buildlib.image.labels import NAMESPACE, OWNER, STAND_INS, names_of, stand_ins_of, value_of

FORMER = "io.github.smiller333.buildlib"


def test_the_namespace_names_no_repository() -> None:
    assert NAMESPACE == "buildlib"
    assert names_of(OWNER) == ("buildlib.image", f"{FORMER}.image")


@pytest.mark.parametrize(
    ("labels", "value"),
    [
        ({OWNER: "a"}, "a"),
        ({f"{FORMER}.image": "b"}, "b"),
        # Built now, on a base image that an earlier version built.
        ({f"{FORMER}.image": "b", OWNER: "a"}, "a"),
        ({OWNER: "", "image": "c"}, ""),
    ],
)
def test_a_label_is_read_under_either_name(labels: dict[str, str], value: str) -> None:
    assert value_of(labels, OWNER) == value


def test_placeholders_below_an_image_are_seen_under_either_name() -> None:
    images = [{STAND_INS: "alpine:3.22"}, {f"{FORMER}.stand-ins": "golang:1.24 busybox:1"}]
    assert stand_ins_of(images) == {"alpine:3.22", "golang:1.24", "busybox:1"}
