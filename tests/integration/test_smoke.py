"""Smoke on images that are wrong in one thing each, and on one that is given."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from conftest import ROOT, Checkout, docker

pytestmark = pytest.mark.engine
CONFIG = """
[smoke]
commands = [["true"]]
version-command = ["cat", "/version"]
port = 8080
health-path = "/index.html"
start-timeout = 5
"""


@dataclass(frozen=True)
class Image:
    """A way to be wrong: the server's script, the check that finds it, and a part of why."""

    script: str
    check: str = ""
    detail: str = ""
    config: str = CONFIG


SERVE = "cp /version /tmp/index.html && httpd -p 8080 -h /tmp"
IMAGES = {
    "a good one": Image(f"{SERVE} && exec sleep 60"),
    "ignores SIGTERM": Image(
        f"{SERVE} && trap : TERM && while :; do sleep 1; done",
        "stops on SIGTERM",
        "did not end within 2 s, and was killed",
    ),
    "ends in disorder": Image(
        f"{SERVE} && trap 'exit 5' TERM && while :; do sleep 0.1; done",
        "stops on SIGTERM",
        "ended with code 5",
    ),
    "needs a writable root": Image(
        f"cp /version /srv-index && {SERVE} && exec sleep 60",
        "healthy",
        "Read-only file system",
    ),
    "needs a capability": Image(
        f"{SERVE} && chown 7 /tmp/index.html && exec sleep 60", "healthy", "not permitted"
    ),
    "another version in health": Image(
        "echo 9.9.9 > /tmp/index.html && httpd -p 8080 -h /tmp && exec sleep 60",
        "version in health",
        "absent",
    ),
    "never healthy": Image("echo dull && exec sleep 60", "healthy", "not healthy within 5 s"),
    "ends at once": Image("echo goodbye", "healthy", "goodbye"),
}


def _dockerfile(alpine: str, script: str) -> str:
    command = json.dumps(["sh", "-c", script])
    return f"FROM {alpine}\nARG VERSION\nRUN echo $VERSION > /version\nCMD {command}\n"


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_each_fault_is_found_by_its_check(
    make_checkout: Callable[..., Checkout], alpine: str, image: Image
) -> None:
    checkout = make_checkout(_dockerfile(alpine, image.script), image.config)
    done = checkout.invoke("docker-smoke", "--json", VERSION="1.2.3")
    (result,) = json.loads(done.stdout)["smoke"]
    failed = {f["check"]: f["detail"] for f in result["findings"] if not f["passed"]}
    assert list(failed) == ([image.check] if image.check else []), done.stderr
    assert image.detail in failed.get(image.check, "")
    assert done.returncode == (7 if image.check else 0)
    label = "label=io.github.smiller333.buildlib.smoke"
    assert docker("ps", "--all", "--quiet", "--filter", label) == ""


def test_an_image_that_is_given_is_checked_and_stays(own_image: str) -> None:
    done = Checkout(ROOT, own_image).invoke("docker-smoke", "--image", own_image, "--json")
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["smoke"]
    assert result["image"] == own_image
    assert len(result["findings"]) == 6
    assert docker("image", "ls", "--quiet", own_image)
    gone = Checkout(ROOT, own_image).invoke("docker-smoke", "--image", "buildlib-test-nowhere")
    assert gone.returncode == 4
    assert "is not here" in gone.stderr
