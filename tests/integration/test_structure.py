"""The image as container-structure-test sees it, a judge that shares no code with us."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Checkout, docker, remove_images

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
CONFIGS = (ROOT / "tests" / "structure.yaml", ROOT / "tests" / "structure-root.yaml")
# The judge's containers inherit the labels of the image, and this one has the name of the image.
LABEL = "io.github.smiller333.buildlib.image"


@contextmanager
def _without_volumes_left(image: str) -> Iterator[None]:
    """Remove the volumes of the judge's containers: it removes these, and leaves those.

    The engine makes a container's volume right before the container, and says both.
    """
    watched = ("--filter", "type=container", "--filter", "type=volume", "--filter", "event=create")
    since = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    argv = ["docker", "events", "--since", since, *watched, "--format", "{{json .}}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as events:
        try:
            yield
        finally:
            # The last event is our own: what comes before it has been said.
            last = docker("volume", "create", f"buildlib-test-{secrets.token_hex(6)}")
            try:
                for volume in _volumes(events, image, last):
                    docker("volume", "rm", volume, check=False)
            finally:
                events.terminate()
                docker("volume", "rm", last)


def _volumes(events: subprocess.Popen[str], image: str, last: str) -> list[str]:
    found, volume = [], ""
    assert events.stdout
    for line in events.stdout:
        event = json.loads(line)
        actor = event["Actor"]
        if event["Type"] == "volume":
            volume = actor["ID"]
            if volume == last:
                break
        elif actor["Attributes"].get(LABEL) == image and volume:
            found.append(volume)
            volume = ""
    return found


def _judge(image: str, platform: str, *configs: Path) -> dict[str, list[str]]:
    """Return what failed and why, by the name of the test; at least one has to have passed."""
    argv = [
        *(sys.executable, "-m", "container_structure_test", "test", "--output", "json"),
        *("--platform", platform, "--image", f"{image}:latest"),
        *(word for config in configs for word in ("--config", str(config))),
    ]
    with _without_volumes_left(image):
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    # Without the tool there is no JSON, and the test fails: a judge who is missing has not passed.
    assert done.stdout.startswith("{"), done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    failed = {r["Name"]: r.get("Errors", []) for r in report["Results"] if not r["Pass"]}
    assert report["Pass"] > 0
    assert report["Fail"] == len(failed)
    assert done.returncode == (1 if failed else 0)
    return failed


@pytest.fixture(name="both", scope="module")
def _both() -> Iterator[str]:
    """Build this repository's own image for every platform under a name of the tests'."""
    image = f"buildlib-test-judged-{secrets.token_hex(4)}"
    checkout = Checkout(ROOT, image, {"BUILDLIB_IMAGE": image})
    done = checkout.invoke("docker-build", "--platform", "all")
    assert done.returncode == 0, done.stderr
    yield image
    remove_images(image)


def _own_platform(folder: Path, platform: str) -> Path:
    """Return a config that only an image of that platform passes, and only if it really runs."""
    test = {
        "name": "the program is of the platform",
        "command": "dockerutilities",
        "args": ["version", "--json"],
        "expectedOutput": [f'"platform": *"{platform}"'],
    }
    config = folder / "platform.yaml"
    config.write_text(json.dumps({"schemaVersion": "2.0.0", "commandTests": [test]}), "utf-8")
    return config


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_our_own_image_is_what_it_promises(both: str, tmp_path: Path, platform: str) -> None:
    before = set(docker("volume", "ls", "--quiet", "--filter", "dangling=true").split())
    assert _judge(both, platform, *CONFIGS, _own_platform(tmp_path, platform)) == {}
    after = set(docker("volume", "ls", "--quiet", "--filter", "dangling=true").split())
    # Others may use the engine at the same time, but none of them makes dozens of volumes.
    assert len(after - before) < 10


@dataclass(frozen=True)
class Wrong:
    """Our image with a few things changed: the tests that fail then, and words of their errors."""

    lines: str
    failing: frozenset[str]
    errors: tuple[str, ...] = ()


WRONG = {
    "how it runs": Wrong(
        'USER 2000:2000\nENV http_proxy=http://proxy.example:1\nENTRYPOINT ["sh"]\nCMD ["x"]\n'
        "WORKDIR /\nLABEL org.opencontainers.image.licenses=none",
        frozenset({"Metadata Test"}),
        ("http_proxy", "[sh]", "[x]", "does not match config workdir: /", "2000:2000", "licenses"),
    ),
    "what is in it": Wrong(
        "COPY --chown=0:0 tasks.py /src/\nRUN chmod 0666 /etc/passwd && chmod 0777 /app"
        " && chmod 4755 /usr/local/bin/entrypoint.sh && sed -i /1001/d /etc/group",
        frozenset({
            "File Existence Test: the directory of the program's user is root's",
            "Command Test: and nothing else of it",
            "File Existence Test: so is the entrypoint",
            "File Existence Test: users are root's to change",
            "File Existence Test: no source",
            "File Content Test: so is the group",
            "Command Test: no file gives its user's or group's rights to who runs it",
            "Command Test: no file can be written by everybody",
        }),
    ),
    "an entrypoint that stays root": Wrong(
        """RUN printf '#!/bin/sh\\nexec "$@"\\n' > /usr/local/bin/entrypoint.sh""",
        frozenset({
            "Command Test: the entrypoint runs a command as the user, and in no other group",
            "Command Test: the entrypoint runs a command of the program",
            "Command Test: the entrypoint runs an option of the program",
        }),
    ),
}  # fmt: skip
# What buildlib says of a base of its own would be one more difference.
LABELS = """
[labels]
"org.opencontainers.image.base.name" = "docker.io/library/alpine:3.22"
"""


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_image_is_found_by_what_is_wrong(
    both: str, make_checkout: Callable[..., Checkout], wrong: Wrong
) -> None:
    checkout = make_checkout(f"FROM {both}:latest\n{wrong.lines}\n", LABELS)
    done = checkout.invoke("docker-build", VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    failed = _judge(checkout.image, "linux/amd64", *CONFIGS)
    assert set(failed) == wrong.failing
    told = "\n".join(failed.get("Metadata Test", ()))
    assert [word for word in wrong.errors if word not in told] == [], told


def test_an_image_of_another_platform_is_found(both: str, tmp_path: Path) -> None:
    config = _own_platform(tmp_path, "linux/arm64")
    # A test that passes as well: an image that can't be run at all is another fault.
    failed = _judge(both, "linux/amd64", CONFIGS[1], config)
    assert set(failed) == {"Command Test: the program is of the platform"}
