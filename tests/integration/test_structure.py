"""The image as container-structure-test sees it, a judge that shares no code with us."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Checkout, build_own, docker, remove_images, shared

from buildlib.image.archive import Archive, Image, open_archive

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
CONFIGS = (ROOT / "tests" / "structure.yaml", ROOT / "tests" / "structure-root.yaml")
PROGRAM = "usr/local/bin/dockerutilities"
# The judge's containers inherit the labels of the image, and this one has the name of the image.
LABEL = "buildlib.image"


@contextmanager
def _without_volumes_left(image: str) -> Iterator[None]:
    """Remove the volumes of the judge's containers: it removes these, and leaves those.

    All of its tests start their container, and the engine says which volumes it mounts then.
    """
    events = ("--filter", "event=create", "--filter", "event=mount")
    watched = ("--filter", "type=container", "--filter", "type=volume", *events)
    since = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    argv = ["docker", "events", "--since", since, *watched, "--format", "{{json .}}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            # The last event is our own: what comes before it has been said.
            last = docker("volume", "create", f"buildlib-test-{secrets.token_hex(6)}")
            try:
                found = _volumes(process, image, last)
                for volume in found:
                    docker("volume", "rm", volume, check=False)
            finally:
                process.terminate()
                docker("volume", "rm", last)
    assert found
    assert not found & set(docker("volume", "ls", "--quiet").split())


def _volumes(events: subprocess.Popen[str], image: str, last: str) -> set[str]:
    ours, mounts = set(), []
    assert events.stdout
    for line in events.stdout:
        event = json.loads(line)
        actor = event["Actor"]
        if event["Type"] == "container" and actor["Attributes"].get(LABEL) == image:
            ours.add(actor["ID"])
        elif event["Action"] == "mount":
            mounts.append((actor["Attributes"]["container"], actor["ID"]))
        elif actor["ID"] == last:
            break
    return {volume for container, volume in mounts if container in ours}


def _judge(image: str, platform: str, *configs: Path) -> dict[str, list[str]]:
    """Return what failed and why, by the name of the test."""
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
    assert report["Total"] == len(report["Results"]) == report["Pass"] + len(failed) > 0
    assert done.returncode == (1 if failed else 0)
    return failed


@pytest.fixture(name="both", scope="session")
def _both(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build this repository's own image for every platform under a name of the tests'."""
    assert engine

    def make(_: Path) -> str:
        image = f"buildlib-test-judged-{secrets.token_hex(4)}"
        build_own(image, "--platform", "all")
        return image

    with shared(tmp_path_factory, "judged", make, remove_images) as image:
        yield image


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


def _metadata(folder: Path) -> Path:
    """Return a config with what is held of the image's metadata alone."""
    whole = yaml.safe_load(CONFIGS[0].read_text(encoding="utf-8"))
    config = folder / "metadata.yaml"
    kept = {key: whole[key] for key in ("schemaVersion", "metadataTest")}
    config.write_text(json.dumps(kept), "utf-8")
    return config


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_our_own_image_is_what_it_promises(both: str, tmp_path: Path, platform: str) -> None:
    # What is emulated takes long; that its files are the same is seen below.
    configs = CONFIGS if platform == "linux/amd64" else (_metadata(tmp_path),)
    assert _judge(both, platform, *configs, _own_platform(tmp_path, platform)) == {}


def _own_files(archive: Archive, image: Image) -> list[tuple[object, ...]]:
    """Return what each file is that its own Dockerfile put there, the program's content aside."""
    own = [layer for layer in image.layers if image.own(layer)]
    return [
        (file.path, file.kind, file.mode, file.user, file.group, file.target, file.attributes)
        + (() if file.path == PROGRAM else (file.sha256,))
        for layer in own
        for file in archive.files(layer, contents=True)
    ]


def test_its_platforms_differ_in_the_program_alone(own_archive: Path) -> None:
    with open_archive(own_archive) as archive:
        one, other = (_own_files(archive, image) for image in archive.images())
    assert PROGRAM in [path for path, *_ in one]
    assert one == other


# Our image with a few things changed, the tests that fail then, and words of their errors.
WRONG = """\
FROM {image}
COPY --chown=0:0 tasks.py /src/
RUN printf '#!/bin/sh\\nexec "$@"\\n' > /usr/local/bin/entrypoint.sh
RUN chmod 0666 /etc/passwd && chmod 0777 /app && chmod 4755 /usr/local/bin/entrypoint.sh \
  && sed -i /1001/d /etc/group
USER 2000:2000
ENV http_proxy=http://proxy.example:1
ENTRYPOINT ["sh"]
CMD ["x"]
WORKDIR /
LABEL org.opencontainers.image.licenses=none
"""
TOLD = {
    "Metadata Test": (
        *("http_proxy", "[sh]", "[x]", "does not match config workdir: /", "2000:2000", "licenses"),
    ),
    "Command Test: files have their rights and owners": (
        *("bin/entrypoint", "0 0 app$", "etc/passwd$", ":x:1001:$", "src: No such"),
    ),
    "Command Test: commands run as the user, who can write its data and nothing else": (
        *(r"^version: \d+", "help: .*server", "create /app/x"),
    ),
    # The entrypoint stays root.
    "Command Test: the entrypoint drops to the user, and files give no rights away": (
        *("entrypoint: 1001", "gives rights", "writable"),
    ),
    # It runs here, and is for another one.
    "Command Test: the program is of the platform": ("linux/arm64",),
}
# What buildlib says of a base of its own would be one more difference.
LABELS = """
[labels]
"org.opencontainers.image.base.name" = "docker.io/library/alpine:3.22"
"""


def test_a_wrong_image_is_found_by_all_that_is_wrong(
    both: str, make_checkout: Callable[..., Checkout], tmp_path: Path
) -> None:
    checkout = make_checkout(WRONG.format(image=f"{both}:latest"), LABELS)
    done = checkout.invoke("docker-build", VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    other = _own_platform(tmp_path, "linux/arm64")
    failed = _judge(checkout.image, "linux/amd64", *CONFIGS, other)
    assert set(failed) == set(TOLD)
    for name, words in TOLD.items():
        told = "\n".join(failed[name])
        assert [word for word in words if word not in told] == [], told
