"""The options of buildx in real builds, and the list of them against the buildx at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Checkout, docker
from gitscript import commit_all

from buildlib.build.preflight import version_numbers
from buildlib.config.buildx_options import OPTIONS
from buildlib.image.archive import open_archive

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine"), pytest.mark.toolchain]
Make = Callable[..., Checkout]
DOCKERFILE = """\
FROM {base} AS stamped
RUN cat /proc/sys/kernel/random/uuid > /stamp
FROM scratch AS stamp
COPY --from=stamped /stamp /
FROM {base} AS seen
RUN --mount=type=ssh cat /etc/hosts > /hosts && ls /sys/class/net > /net \\
    && ulimit -n > /limit && df /dev/shm > /shm && test -S "$SSH_AUTH_SOCK" && touch /agent
FROM scratch
COPY --from=seen /hosts /net /limit /shm /agent /
COPY --from=extra /file /extra
COPY --from=image /bin/busybox /image
"""
CONFIG = """\
[build]
network = "none"
add-hosts = ["db:10.1.2.3"]
ulimits = ["nofile=100:200"]
shm-size = "16m"

[build.contexts]
extra = "assets"

[build.annotations]
"org.example.version" = "{version}"
"index:org.example.kind" = "tool"
"""


def _listed() -> set[str]:
    """Return the options that the help of buildx lists; the experimental ones are hidden."""
    env = {name: text for name, text in os.environ.items() if name != "BUILDX_EXPERIMENTAL"}
    done = subprocess.run(
        ["docker", "buildx", "build", "--help"], env=env, capture_output=True, text=True, check=True
    )
    found = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", done.stdout, re.MULTILINE))
    assert "add-host" in found, done.stdout
    return found


def test_the_list_of_options_is_that_of_buildx() -> None:
    version = version_numbers(docker("buildx", "version").split()[1])
    listed = _listed()
    known = {option.name for option in OPTIONS}
    assert listed <= known, f"not in buildlib/config/buildx_options.py: {listed - known}"
    # Not every help lists what is of docker or of cobra.
    common = {"builder", "debug", "help"}
    expected = {option.name for option in OPTIONS if option.since <= version}
    assert listed | common == expected | common


def _files(path: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8", "replace") for file in path.iterdir()}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """Return a throw-away key for ssh."""
    program = shutil.which("ssh-keygen")
    assert program
    path = tmp_path / "key"
    argv = [program, "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path


def test_a_build_gets_what_is_configured_and_what_is_typed(
    make_checkout: Make, alpine: str, key: Path
) -> None:
    checkout = make_checkout(DOCKERFILE.format(base=alpine), CONFIG)
    (checkout.root / "assets").mkdir()
    (checkout.root / "assets" / "file").write_text("from the directory\n", encoding="utf-8")
    words = ("--ssh", f"default={key}", "--build-context", f"image=docker-image://{alpine}")
    local = ("docker-build", *words, "--output")
    done = checkout.invoke(*local, "type=local,dest=first")
    assert done.returncode == 0, done.stderr
    first = _files(checkout.root / "first")
    assert re.search(r"^10\.1\.2\.3\s+db$", first["hosts"], re.MULTILINE)
    assert first["net"].split() == ["lo"]
    assert (first["limit"], first["extra"]) == ("100\n", "from the directory\n")
    assert "16384" in first["shm"]
    assert "PRIVATE KEY" not in done.stderr + done.stdout
    # A newer BuildKit takes more than one step after that stage from the cache, and it with them.
    target = ("--target", "stamp", "--no-cache-filter", "stamped")
    for name in ("second", "third"):
        done = checkout.invoke(*local, f"type=local,dest={name}", *target)
        assert done.returncode == 0, done.stderr
    stamps = {_files(checkout.root / name)["stamp"] for name in ("second", "third")}
    assert len(stamps) == 2


def test_an_archive_has_its_annotations_and_labels_and_its_id_is_written(
    make_checkout: Make,
) -> None:
    checkout = make_checkout("FROM scratch\nCOPY tasks.py /\n", CONFIG)
    (checkout.root / "assets").mkdir()
    words = ("--label", "org.example.given=a b", "--annotation", "org.example.given=c", "--json")
    files = ("--iidfile", "id", "--metadata-file", "metadata.json")
    platforms = ("--platform", "linux/amd64", "--platform", "linux/arm64", "--output", "oci")
    done = checkout.invoke("docker-build", *words, *files, *platforms, VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    with open_archive(Path(result["destination"])) as archive:
        assert archive.top() == result["digest"]
        index = json.loads(archive.bytes_of(archive.top()))
        images = archive.images()
        manifests = [json.loads(archive.bytes_of(image.digest)) for image in images]
        assert index["annotations"]["org.example.kind"] == "tool"
        for manifest in manifests:
            found = manifest["annotations"]
            assert (found["org.example.version"], found["org.example.given"]) == ("1.2.3", "c")
        assert {image.labels["org.example.given"] for image in images} == {"a b"}
    assert (checkout.root / "id").read_text("utf-8") == result["digest"]
    metadata = json.loads((checkout.root / "metadata.json").read_text("utf-8"))
    assert metadata["containerimage.digest"] == result["digest"]


def test_attestations_are_in_an_archive_if_somebody_asks_for_them(make_checkout: Make) -> None:
    checkout = make_checkout("FROM scratch\nCOPY tasks.py /\n")
    words = ("--provenance", "mode=min", "--output", "oci", "--platform", "linux/amd64", "--json")
    done = checkout.invoke("docker-build", *words, VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    with open_archive(Path(json.loads(done.stdout)["destination"])) as archive:
        index = json.loads(archive.bytes_of(archive.top()))
    kinds = [
        entry.get("annotations", {}).get("vnd.docker.reference.type")
        for entry in index["manifests"]
    ]
    assert kinds == [None, "attestation-manifest"]


def test_the_frontend_is_asked_instead_of_a_build(make_checkout: Make) -> None:
    checkout = make_checkout(
        "FROM scratch AS one\nARG NAME=value\nCOPY tasks.py /\nFROM scratch as two\n"
    )
    outline = checkout.invoke("docker-build", "--call", "outline", "--target", "one", "--json")
    check = checkout.invoke("docker-build", "--check")
    if version_numbers(docker("buildx", "version").split()[1]) < (0, 15):
        assert (outline.returncode, check.returncode) == (3, 3)
        assert "it came with 0.15" in check.stderr
        return
    assert outline.returncode == 0, outline.stderr
    (arg,) = json.loads(outline.stdout)["args"]
    assert (arg["name"], arg["value"]) == ("NAME", "value")
    # BuildKit that is older than the checks says so, and has another code.
    assert check.returncode != 0
    assert "FromAsCasing" in check.stdout or "frontend.lint" in check.stderr
    assert docker("image", "ls", "--quiet", checkout.image) == ""


def test_an_entitlement_is_needed_in_the_build_and_in_the_builder(
    make_checkout: Make, alpine: str
) -> None:
    network = "RUN --network=host ls /sys/class/net\n"
    checkout = make_checkout(f"FROM {alpine}\n{network}")
    refused = checkout.invoke("docker-build", "--output", "cacheonly")
    assert refused.returncode == 4
    assert "the build may not use network.host" in refused.stderr
    assert "--allow network.host" in refused.stderr
    done = checkout.invoke("docker-build", "--output", "cacheonly", "--allow", "network.host")
    assert done.returncode == 0, done.stderr
    words = ("--allow", "security.insecure", "--output", "cacheonly", "--no-cache")
    checkout.dockerfile(f"FROM {alpine}\nRUN true\n")
    refused = checkout.invoke("docker-build", *words)
    assert refused.returncode == 4
    assert "--allow-insecure-entitlement security.insecure" in refused.stderr


def test_a_reproduction_has_the_configured_options_too(make_checkout: Make, alpine: str) -> None:
    lines = (
        f"FROM {alpine} AS made",
        "RUN --mount=type=secret,id=word cp /run/secrets/word /word && grep db /etc/hosts > /hosts",
        "FROM scratch",
        "COPY --from=made /word /hosts /",
        "COPY --from=extra / /extra/",
    )
    secret = '[secrets]\nword = { file = "word" }\n'
    checkout = make_checkout("\n".join(lines) + "\n", CONFIG + secret)
    (checkout.root / "assets").mkdir()
    for name in ("word", "assets/file"):
        (checkout.root / name).write_text("hello\n", encoding="utf-8")
    commit_all(checkout.root)
    done = checkout.invoke("docker-reproduce", "--platform", "linux/amd64", "--keep", "kept")
    assert done.returncode == 0, done.stderr
    with open_archive(checkout.root / "kept" / "second.oci.tar") as archive:
        (image,) = archive.images()
        paths = {file.path for layer in image.layers for file in archive.files(layer)}
        manifest = json.loads(archive.bytes_of(image.digest))
    assert {"word", "hosts", "extra/file"} <= paths
    assert "org.example.version" in manifest["annotations"]
