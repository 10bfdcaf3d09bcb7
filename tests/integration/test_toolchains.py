"""One image, built with each toolchain: which bytes are the same, and which are not.

docs/reproducible.md has what is found here.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GOTOOLS, Checkout, docker
from ociwriter import OciWriter

from buildlib.image.archive import open_archive

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine"), pytest.mark.toolchain]
# A layer of each kind. The programs for RUN are of a base image that leaves no byte in this one.
DOCKERFILE = """\
FROM scratch AS made
COPY tree/ /out/

FROM scratch
COPY --from=made /out/ /
COPY --chown=1001:1001 --chmod=0640 script /app/owned
COPY --link script /linked/script
ADD script /app/
RUN --network=none --mount=type=bind,from={base},source=/bin,target=/bin \\
    --mount=type=bind,from={base},source=/lib,target=/lib \\
    seq 1 300000 > /app/text && ln -s text /app/link && rm /etc/gone
WORKDIR /app/data
COPY --chmod=0640 script /new/script
ARG PLAIN
ENV ONE=1 TWO="two words"
USER 1001:1001
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s CMD ["/script", "health"]
ENTRYPOINT ["/script"]
CMD ["server"]
"""
FRONTEND = """\
FROM scratch
LABEL moby.buildkit.frontend.network.none="true"
LABEL moby.buildkit.frontend.caps="moby.buildkit.frontend.inputs,\
moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts"
COPY dockerfile-frontend /bin/
ENTRYPOINT ["/bin/dockerfile-frontend"]
"""
LAYERS = [
    "sha256:c99b4d3983010392de092c76058b937db0578c06b3f18b1bc4d0c2c349edc4d1",
    "sha256:86a8099e09fc59f700f3d11844ae5c6189c43d3e9e6d4273d1b92590570611ca",
    "sha256:db4f92909bf684680100fe34bdab45f6400d0d434305413b74cf50f5a6d9a2b7",
    "sha256:d6604bb36233cb7daf2fe52358403a95e38fdcd0f24c5ed61432c5379fd4ef70",
    "sha256:ad53fccd133538a20a194fd5bc6333888e7ee4ea444671b2fbfdd49d08d7f844",
    "sha256:80fe8fd0ee6c4fbf6fb6f21d3709fc846d90683c56b3ab484d0453e42e6900d6",
]
STEPS = [
    "COPY /out/ / # buildkit",
    "COPY --chown=1001:1001 --chmod=0640 script /app/owned # buildkit",
    "COPY script /linked/script # buildkit",
    "ADD script /app/ # buildkit",
    "RUN /bin/sh -c seq 1 300000 > /app/text && ln -s text /app/link && rm /etc/gone # buildkit",
    "WORKDIR /app/data",
    "COPY --chmod=0640 script /new/script # buildkit",
    "ARG PLAIN",
    "ENV ONE=1 TWO=two words",
    "USER 1001:1001",
    "VOLUME [/data]",
    "EXPOSE map[8080/tcp:{}]",
    "STOPSIGNAL SIGTERM",
    'HEALTHCHECK &{["CMD" "/script" "health"] "30s" "0s" "0s" "0s" \'\\x00\'}',
    'ENTRYPOINT ["/script"]',
    'CMD ["server"]',
]
# What the frontend of a newer BuildKit writes into the history instead.
NEWER = {
    "ARG PLAIN": "ARG PLAIN=given",
    STEPS[11]: "EXPOSE [8080/tcp]",
    STEPS[13]: "HEALTHCHECK {Test:[CMD /script health] Interval:30s Timeout:0s StartPeriod:0s"
    " StartInterval:0s Retries:0}",
}
CONFIG = {
    "User": "1001:1001",
    "ExposedPorts": {"8080/tcp": {}},
    "Env": [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ONE=1",
        "TWO=two words",
    ],
    "Entrypoint": ["/script"],
    "Cmd": ["server"],
    "Volumes": {"/data": {}},
    "WorkingDir": "/app/data",
    "StopSignal": "SIGTERM",
    "ArgsEscaped": True,
    "Healthcheck": {"Test": ["CMD", "/script", "health"], "Interval": 30_000_000_000},
}
OCI = "application/vnd.oci.image"


def _fill(root: Path) -> None:
    for folder in ("tree/etc", "tree/data", "tree/app", "tree/linked"):
        (root / folder).mkdir(parents=True)
    numbers = "".join(f"{number}\n" for number in range(200_000))
    (root / "tree/etc/numbers").write_text(numbers, encoding="utf-8")
    (root / "tree/etc/gone").write_text("gone\n", encoding="utf-8")
    (root / "tree/etc/link").symlink_to("numbers")
    (root / "script").write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
    for path in (path for path in root.rglob("*") if not path.is_symlink()):
        path.chmod(0o755 if path.is_dir() or path.name == "script" else 0o644)


@pytest.fixture(scope="module")
def frontend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image of the oldest BuildKit's frontend, as Docker's own are made."""
    folder = tmp_path_factory.mktemp("frontend")
    shutil.copy(GOTOOLS.ensure("dockerfile-frontend", os.environ), folder)
    (folder / "Dockerfile").write_text(FRONTEND, encoding="utf-8")
    tag = f"buildlib-test-{secrets.token_hex(4)}:1"
    docker("build", "--quiet", "--tag", tag, str(folder))
    yield tag
    docker("image", "rm", tag)


@pytest.mark.parametrize("pinned", [False, True], ids=["its own frontend", "one frontend"])
def test_toolchains_give_the_same_image_but_for_three_steps_of_the_history_and_one_mode(
    make_checkout: Callable[..., Checkout], alpine: str, frontend: str, *, pinned: bool
) -> None:
    checkout = make_checkout(DOCKERFILE.format(base=alpine))
    _fill(checkout.root)
    words = ("--output", "oci", "--platform", "linux/amd64", "--no-cache", "--build-arg")
    env = {"VERSION": "1.2.3", "SOURCE_DATE_EPOCH": "1700000000"}
    syntax = ("--build-arg", f"BUILDKIT_SYNTAX={frontend}") if pinned else ()
    done = checkout.invoke("docker-build", *words, "PLAIN=given", *syntax, **env)
    assert done.returncode == 0, done.stderr
    (path,) = (checkout.root / "dist").glob("*.oci.tar")
    newer = os.environ.get("BUILDLIB_TOOLCHAIN") == "current"
    with open_archive(path) as archive:
        (image,) = archive.images()
        manifest = json.loads(archive.bytes_of(image.digest))
        *same, last = image.layers
        modes = {file.path: file.mode for file in archive.files(last)}
    assert [layer.digest for layer in same] == LAYERS
    # A directory that COPY --chmod makes has that mode, which an older one leaves at 0755.
    assert modes == {"new": 0o640 if newer else 0o755, "new/script": 0o640}
    history = [step["created_by"] for step in image.config["history"]]
    # The frontend writes it: with the same one it is the same.
    own = newer and not pinned
    assert history == [NEWER.get(step, step) if own else step for step in STEPS]
    config = dict(image.config["config"])
    assert config.pop("Labels")["org.opencontainers.image.version"] == "1.2.3"
    assert config == CONFIG
    media = [entry["mediaType"] for entry in (manifest, manifest["config"], *manifest["layers"])]
    layers = [f"{OCI}.layer.v1.tar+gzip"] * 7
    assert media == [f"{OCI}.manifest.v1+json", f"{OCI}.config.v1+json", *layers]
    times = {image.config["created"], *(step["created"] for step in image.config["history"])}
    assert times == {"2023-11-14T22:13:20Z"}


@pytest.mark.parametrize("pinned", [False, True], ids=["its own frontend", "one frontend"])
def test_an_older_frontend_lets_the_layers_of_a_base_that_is_replaced_be_rewritten(
    make_checkout: Callable[..., Checkout], tmp_path: Path, frontend: str, *, pinned: bool
) -> None:
    writer = OciWriter()
    layer = writer.layer({"a": b"x"}, "application/vnd.oci.image.layer.v1.tar")
    base = writer.image([layer])
    layout = tmp_path / "layout"
    layout.mkdir()
    # Not by tarfile, whose options differ from one Python to the next.
    file = writer.write(tmp_path / "base.tar", base)
    subprocess.run(["tar", "-xf", file, "-C", layout], check=True)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}', encoding="utf-8")
    bases = f'[base-images]\n"base:1" = "oci-layout://{layout}@{base["digest"]}"\n'
    checkout = make_checkout("FROM base:1\nCOPY tasks.py /\n", bases)
    syntax = ("--build-arg", f"BUILDKIT_SYNTAX={frontend}") if pinned else ()
    words = ("--output", "oci", "--platform", "linux/amd64", *syntax)
    done = checkout.invoke("docker-build", *words, VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    (path,) = (checkout.root / "dist").glob("*.oci.tar")
    with open_archive(path) as archive:
        (image,) = archive.images()
        first = json.loads(archive.bytes_of(image.digest))["layers"][0]
    newer = os.environ.get("BUILDLIB_TOOLCHAIN") == "current"
    assert (first["digest"] == layer["digest"]) == (newer and not pinned)
    assert ("buildkit/rewritten-timestamp" in first.get("annotations", {})) != (
        newer and not pinned
    )


def test_no_buildx_can_set_what_buildkit_calls_its_compatibility_version() -> None:
    # One that can is to set it: docs/reproducible.md says that there is none.
    assert "compatibility" not in docker("buildx", "build", "--help").lower()
