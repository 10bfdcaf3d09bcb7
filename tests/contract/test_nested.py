"""The tasks in a collection of their own, in a namespace that has tasks of the same names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import Checkout

pytestmark = pytest.mark.unmeasured

Make = Callable[..., Checkout]
OTHERS = """
from pathlib import Path
from invoke import Collection, task
from buildlib.tasks import collection

@task(help={"kind": "of it"})
def clean(context, kind=""):
    print(f"theirs {kind}")

@task
def version(context):
    print("0.0")

namespace = Collection(clean, version)
namespace.add_collection(collection(Path(__file__).parent, nested=True))
namespace.add_collection(collection(Path(__file__).parent), "all")
"""


@pytest.fixture
def checkout(make_checkout: Make) -> Checkout:
    made = make_checkout("FROM scratch AS final\n")
    (made.root / "tasks.py").write_text(OTHERS, encoding="utf-8")
    return made


def test_both_have_their_names(checkout: Checkout) -> None:
    assert checkout.invoke("version").stdout == "0.0\n"
    for name in ("image.version", "all.version"):
        assert checkout.invoke(name).stdout == "0.0.1-SNAPSHOT-none\n"
    assert checkout.invoke("clean", "--kind", "x").stdout == "theirs x\n"
    assert checkout.invoke("image.clean", "--dry-run").stdout == ""
    short, flat = (
        checkout.invoke(name, "--dry-run", SOURCE_DATE_EPOCH="1").stdout
        for name in ("image.build", "all.docker-build")
    )
    assert short.startswith("docker buildx build ")
    assert short.partition("--metadata-file")[0] == flat.partition("--metadata-file")[0]


def test_they_are_listed_in_groups_of_their_own(checkout: Checkout) -> None:
    listed = checkout.invoke("--list").stdout
    names = [line.split()[0] for line in listed.splitlines() if line.startswith("  ")]
    assert names[:2] == ["clean", "version"]
    assert {"image.build", "image.clean", "image.docker-clean", "all.docker-build"} <= set(names)
    below = checkout.invoke("--list", "image").stdout
    assert ".build " in below
    assert "Build the image, tagged with its version and latest." in below


def test_help_has_the_texts_of_their_options(checkout: Checkout) -> None:
    shown = checkout.invoke("--help", "image.builder").stdout
    assert "image.builder" in shown
    assert "create, status or remove" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image.biuld"], "there is no task 'image.biuld'\n  did you mean image.build?"),
        (["--help", "image.biuld"], "did you mean image.build?"),
        (["image.publish", "--registry", ""], "--registry needs a value"),
        (["image.publish", "--registry="], "--registry needs a value"),
        (["image.tag", ""], "an argument of image.tag is empty"),
    ],
)
def test_what_is_wrong_with_a_name_or_a_value_is_said(
    checkout: Checkout, words: list[str], message: str
) -> None:
    done = checkout.invoke(*words)
    assert done.returncode == 2
    assert message in done.stderr


def test_options_of_other_tasks_are_left_alone(checkout: Checkout) -> None:
    assert checkout.invoke("clean", "--kind", "image.biuld").stdout == "theirs image.biuld\n"
    assert checkout.invoke("clean", "--kind=").stdout == "theirs \n"
