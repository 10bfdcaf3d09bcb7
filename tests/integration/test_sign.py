"""Signing and verifying on a real registry.

With both of the cosigns that count where these differ: in their options, in the form of what they
keep, in what they say of it, and in where a registry keeps it. With version 3 elsewhere.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from conftest import TASKS
from inprocess import run_task
from ociwriter import OciWriter
from registries import (
    KNOWN,
    PASSWORD,
    Fault,
    Server,
    docker_config,
    fault_proxy,
    free_port,
    ping,
    referrers_registry,
    registry,
)
from releases import make_keys

from buildlib.config.load import load_config
from buildlib.errors import InputError
from buildlib.executor import PlumbumExecutor
from buildlib.image.archive import open_archive
from buildlib.publish.signing import check_signer
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transfer import push_archive
from buildlib.registry.transport import Transport

# Where cosign 3 is not in the cache yet it is compiled, which takes minutes.
pytestmark = [pytest.mark.release, pytest.mark.timeout(2400)]
PATH = "team/signed"
# What depends on buildlib alone.
one_cosign = pytest.mark.parametrize("cosign_path", ["cosign 3"], indirect=True)
SECRET = "the-password-of-the-key"


@dataclass(frozen=True)
class Signed:
    """A project with a key, and a registry with images in it."""

    root: Path
    server: Server
    env: dict[str, str]
    repository: Repository
    host: str = ""

    @property
    def name(self) -> str:
        return f"{self.host or self.server.host}/{PATH}"

    def push(self, seed: str) -> str:
        """Push an image of two platforms, and return its digest."""
        writer = OciWriter()
        images = [
            writer.image([writer.layer({seed: arch.encode()})], platform=("linux", arch))
            for arch in ("amd64", "arm64")
        ]
        path = writer.write(self.root.parent / f"{seed}.tar", writer.index(*images))
        with open_archive(path) as archive:
            return push_archive(archive, self.repository).digest

    def invoke(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return run_task(words, self.root, {**self.env, **env})

    def code(self, *words: str, **env: str) -> tuple[int, str]:
        done = self.invoke(*words, **env)
        for secret in (SECRET, PASSWORD):
            assert secret not in done.stdout + done.stderr
        return done.returncode, done.stderr


CONFIG = """\
image = "signed"
[registries.one]
repository = "{name}"
[sign]
key = "keys/cosign.key"
[verify]
key = "keys/cosign.pub"
"""


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, cosign_path: str) -> Iterator[Signed]:
    folder = tmp_path_factory.mktemp("signed")
    root, temporary = folder / "repo", folder / "tmp"
    temporary.mkdir()
    with registry(folder / "registry") as server:
        env = {
            **os.environ,
            "PATH": cosign_path,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "COSIGN_PASSWORD": SECRET,
            "TMPDIR": str(temporary),
            "DOCKER_CONFIG": str(docker_config(folder / "docker", server.host)),
        }
        for keys in (root / "keys", folder / "other"):
            keys.mkdir(parents=True)
            make_keys(keys, env)
        text = CONFIG.format(name=f"{server.host}/{PATH}")
        (root / "buildlib.toml").write_text(text, encoding="utf-8")
        (root / "tasks.py").write_text(TASKS, encoding="utf-8")
        repository = Repository(Transport(server.host, KNOWN), PATH)
        yield Signed(root, server, env, repository)
        # Whatever was done here, by whatever way it ended.
        assert list(temporary.iterdir()) == []


def test_an_index_and_its_manifests_are_signed_and_verified(signed: Signed) -> None:
    digest = signed.push("good")
    reference = f"{signed.name}@{digest}"
    code, error = signed.code("docker-verify", reference)
    assert code == 8
    assert "is not signed" in error
    done = signed.invoke("docker-sign", reference)
    assert done.returncode == 0, done.stderr
    found = signed.invoke("docker-verify", reference, "--json")
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert facts["digest"] == digest
    assert len(facts["images"]) == 2
    assert facts["signed_by"].startswith("key sha256:")
    for image in facts["images"]:
        assert signed.code("docker-verify", f"{signed.name}@{image}")[0] == 0


@one_cosign
@pytest.mark.toolchain
def test_what_buildx_pushed_by_itself_is_signed_and_verified(
    signed: Signed, tmp_path: Path
) -> None:
    # As it is by default: with BuildKit's provenance in the index, in the form of its version.
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n", encoding="utf-8")
    tag = f"{signed.name}:pushed"
    argv = ["docker", "buildx", "build", "--push", "--provenance=true", "--tag", tag]
    platforms = ("--platform", "linux/amd64,linux/arm64")
    pushed = subprocess.run(
        [*argv, *platforms, str(tmp_path)],
        env=signed.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert pushed.returncode == 0, pushed.stderr
    digest = signed.repository.digest("pushed")
    reference = f"{signed.name}@{digest}"
    done = signed.invoke("docker-sign", reference)
    assert done.returncode == 0, done.stderr
    found = signed.invoke("docker-verify", reference, "--json")
    assert found.returncode == 0, found.stderr
    facts = json.loads(found.stdout)
    assert (facts["digest"], len(facts["images"])) == (digest, 2)


@one_cosign
def test_a_tag_is_what_it_stands_for_now(signed: Signed) -> None:
    first, second = signed.push("first"), signed.push("second")
    for digest in (first, second):
        assert signed.code("docker-sign", f"{signed.name}@{digest}")[0] == 0
    document = signed.repository.manifest(first)
    assert document
    signed.repository.put_manifest("1.0.0", document)
    found = signed.invoke("docker-verify", f"{signed.name}:1.0.0")
    assert first in found.stdout
    assert signed.code("docker-verify", f"{signed.name}:1.0.0@{first}")[0] == 0
    code, error = signed.code("docker-verify", f"{signed.name}:1.0.0@{second}")
    assert code == 8
    assert "has moved" in error
    code, error = signed.code("docker-verify", f"{signed.name}:nothing")
    assert (code, "there is no" in error) == (2, True)


@one_cosign
def test_a_version_s_tag_on_another_version_does_not_verify(signed: Signed) -> None:
    found = signed.repository.manifest(signed.push("named"))
    assert found
    said = {"annotations": {"org.opencontainers.image.version": "1.1.0"}}
    document = Document(json.dumps(json.loads(found.data) | said).encode(), found.media_type)
    for tag in ("1.1.0", "1.1", "1.2.0", "2"):
        signed.repository.put_manifest(tag, document)
    assert signed.code("docker-sign", f"{signed.name}@{document.digest}")[0] == 0
    for tag in ("1.1.0", "1.1"):
        assert signed.code("docker-verify", f"{signed.name}:{tag}")[0] == 0
    for tag in ("1.2.0", "2"):
        code, error = signed.code("docker-verify", f"{signed.name}:{tag}")
        assert (code, f"is not {tag}: it says that it is 1.1.0" in error) == (8, True), error
    assert signed.code("docker-verify", f"{signed.name}@{document.digest}")[0] == 0


def test_a_key_that_can_not_sign_is_known_without_signing(signed: Signed) -> None:
    """Of both cosigns: what is printed where a key can't be opened is for them to say."""
    config = load_config(signed.root, {})
    assert check_signer(config, (), PlumbumExecutor(signed.env, signed.root)).version
    unset = {name: value for name, value in signed.env.items() if name != "COSIGN_PASSWORD"}
    for env in (unset, unset | {"COSIGN_PASSWORD": "wrong"}):
        with pytest.raises(InputError, match="COSIGN_PASSWORD is not set, or wrong"):
            check_signer(config, (), PlumbumExecutor(env, signed.root))
    other = signed.root / "keys/another.pub"
    (signed.root / "another").mkdir()
    make_keys(signed.root / "another", signed.env)
    (signed.root / "another/cosign.pub").rename(other)
    verifies = replace(config.verification(), key="keys/another.pub")
    config = dataclasses.replace(config, verify=verifies)
    with pytest.raises(InputError, match=r"another\.pub is not the public key of"):
        check_signer(config, (), PlumbumExecutor(signed.env, signed.root))


def test_another_key_does_not_verify(signed: Signed) -> None:
    reference = f"{signed.name}@{signed.push('foreign')}"
    assert signed.code("docker-sign", reference)[0] == 0
    code, error = signed.code("docker-verify", reference, "--key", "../other/cosign.pub")
    assert code == 8
    assert "somebody else" in error
    code, error = signed.code("docker-verify", reference, "--key", "nowhere.pub")
    assert code == 2
    assert "public key can't be read" in error


def _signatures(signed: Signed, digest: str) -> list[str]:
    """Return the tags under which cosign keeps what it says of a digest."""
    start = digest.replace(":", "-")
    return [tag for tag in signed.repository.tags() if tag.startswith(start)]


def test_a_signature_of_another_image_does_not_verify(signed: Signed) -> None:
    good, bad = signed.push("right"), signed.push("wrong")
    assert signed.code("docker-sign", f"{signed.name}@{good}")[0] == 0
    # The signature is put where that of the other image would be.
    for tag in _signatures(signed, good):
        document = signed.repository.manifest(tag)
        assert document
        moved = tag.replace(good.replace(":", "-"), bad.replace(":", "-"))
        signed.repository.put_manifest(moved, document)
    code, error = signed.code("docker-verify", f"{signed.name}@{bad}")
    assert code == 8, error


def test_a_signature_that_was_changed_does_not_verify(signed: Signed) -> None:
    digest = signed.push("tampered")
    reference = f"{signed.name}@{digest}"
    assert signed.code("docker-sign", reference)[0] == 0
    assert signed.code("docker-verify", reference)[0] == 0
    changed = 0
    for document, parent in _holders(signed, digest):
        text = document.data.decode()
        for old, new in _forgeries(signed, text):
            text = text.replace(old, new)
            changed += 1
        forged = Document(text.encode(), document.media_type)
        signed.repository.put_manifest(parent or forged.digest, forged)
    assert changed
    code, error = signed.code("docker-verify", reference)
    assert code == 8, error


def _holders(signed: Signed, digest: str) -> Iterator[tuple[Document, str]]:
    """Yield what holds the signature of a digest, and the tag that it has."""
    for tag in _signatures(signed, digest):
        document = signed.repository.manifest(tag)
        assert document
        yield document, tag


def _forgeries(signed: Signed, text: str) -> Iterator[tuple[str, str]]:
    """Yield what stands in a signature's manifest, and what another signature would have there."""
    found = json.loads(text)
    for layer in found.get("layers", ()):
        notes = layer.get("annotations", {})
        name = "dev.cosignproject.cosign/signature"
        if name in notes:
            # The same length, and valid base64: another number.
            value = str(notes[name])
            yield value, value[:20] + ("A" if value[20] != "A" else "B") + value[21:]
    for entry in found.get("manifests", ()):
        # Version 3 keeps it in a manifest of its own, whose blob is a bundle.
        inner = signed.repository.manifest(str(entry["digest"]))
        assert inner
        layer = json.loads(inner.data)["layers"][0]
        bundle = json.loads(signed.repository.blob(str(layer["digest"])))
        signature = bundle["dsseEnvelope"]["signatures"][0]
        value = str(signature["sig"])
        signature["sig"] = value[:20] + ("A" if value[20] != "A" else "B") + value[21:]
        forged = _pushed(signed, json.dumps(bundle).encode())
        text = inner.data.decode().replace(str(layer["digest"]), forged.digest)
        text = text.replace(f'"size":{layer["size"]}', f'"size":{len(forged.data)}')
        manifest = Document(text.encode(), inner.media_type)
        signed.repository.put_manifest(manifest.digest, manifest)
        yield str(entry["digest"]), manifest.digest
        yield f'"size":{len(inner.data)}', f'"size":{len(manifest.data)}'


def _pushed(signed: Signed, data: bytes) -> Document:
    blob = Document(data, "")
    signed.repository.put_blob(blob.digest, len(data), lambda: io.BytesIO(data))
    return blob


def test_statements_are_wanted_counted_and_by_the_right_key(signed: Signed) -> None:
    digest = signed.push("stated")
    reference = f"{signed.name}@{digest}"
    kind = "https://example.org/statement/v1"
    statement = signed.root / "statement.json"
    statement.write_text('{"fine": true}', encoding="utf-8")
    assert signed.code("docker-sign", reference)[0] == 0
    wanted = ("docker-verify", reference, "--attestation", kind)
    code, error = signed.code(*wanted)
    assert code == 8
    assert f"no signed attestation of the type {kind}" in error
    config = signed.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("keys/cosign.key", "../other/cosign.key"), encoding="utf-8")
    try:
        attest = ("docker-sign", reference, "--attest", f"{kind}={statement}")
        assert signed.code(*attest)[0] == 0
        assert signed.code(*wanted)[0] == 8
    finally:
        config.write_text(text, encoding="utf-8")
    assert signed.code(*attest)[0] == 0
    done = signed.invoke(*wanted, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["attestations"] == {kind: 1}
    code, error = signed.code("docker-sign", reference, "--attest", "nonsense")
    assert (code, "not a type and a file" in error) == (2, True)


@one_cosign
def test_a_key_can_come_from_the_environment(signed: Signed) -> None:
    reference = f"{signed.name}@{signed.push('environment')}"
    config = signed.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    private = (signed.root / "keys/cosign.key").read_text(encoding="utf-8")
    public = (signed.root / "keys/cosign.pub").read_text(encoding="utf-8")
    changed = text.replace('"keys/cosign.key"', '"env://SIGNING_KEY"')
    config.write_text(changed.replace('"keys/cosign.pub"', '"env://PUBLIC_KEY"'), encoding="utf-8")
    try:
        done = signed.invoke("docker-sign", reference, SIGNING_KEY=private)
        assert done.returncode == 0, done.stderr
        assert private.splitlines()[1] not in done.stdout + done.stderr
        found = signed.invoke("docker-verify", reference, PUBLIC_KEY=public)
        assert found.returncode == 0, found.stderr
        assert "env://PUBLIC_KEY" in found.stdout
    finally:
        config.write_text(text, encoding="utf-8")


@one_cosign
def test_without_the_password_nothing_waits_for_somebody_to_type_it(signed: Signed) -> None:
    reference = f"{signed.name}@{signed.push('locked')}"
    env = dict(signed.env)
    del env["COSIGN_PASSWORD"]
    locked = Signed(signed.root, signed.server, env, signed.repository)
    code, error = locked.code("docker-sign", reference)
    assert code == 2, error
    assert "COSIGN_PASSWORD" in error
    assert signed.code("docker-sign", reference, COSIGN_PASSWORD="wrong")[0] == 2


@one_cosign
def test_a_public_key_can_come_from_a_variable_of_cosigns(signed: Signed) -> None:
    reference = f"{signed.name}@{signed.push('variable')}"
    assert signed.code("docker-sign", reference)[0] == 0
    public = (signed.root / "keys/cosign.pub").read_text(encoding="utf-8")
    wanted = ("docker-verify", reference, "--key", "env://COSIGN_PUBLIC_KEY")
    code, error = signed.code(*wanted, COSIGN_PUBLIC_KEY=public)
    assert code == 0, error
    other = (signed.root.parent / "other/cosign.pub").read_text(encoding="utf-8")
    assert signed.code(*wanted, COSIGN_PUBLIC_KEY=other)[0] == 8


@one_cosign
def test_a_password_that_a_killed_run_left_is_gone_with_the_next(signed: Signed) -> None:
    digest = signed.push("killed")
    temporary = Path(signed.env["TMPDIR"])
    with fault_proxy(signed.server.port) as proxy:
        proxy.always["."] = Fault(stall=5, reset=True)
        config = docker_config(signed.root.parent / "docker-killed", proxy.host)
        run = subprocess.Popen(
            [sys.executable, "-m", "invoke", "docker-sign", f"{proxy.host}/{PATH}@{digest}"],
            cwd=signed.root,
            env={**signed.env, "DOCKER_CONFIG": str(config)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not proxy.seen:
            assert run.poll() is None
            time.sleep(0.05)
        run.kill()
        run.wait()
    (left,) = temporary.glob("buildlib-docker-*/config.json")
    assert "auth" in left.read_text(encoding="utf-8")
    assert signed.code("docker-verify", f"{signed.name}@{digest}")[0] == 8
    assert not left.parent.exists()


@one_cosign
def test_what_can_not_be_done_is_told_with_its_code(signed: Signed, tmp_path: Path) -> None:
    digest = signed.push("codes")
    reference = f"{signed.name}@{digest}"
    assert signed.code("docker-sign", f"{signed.name}:latest")[0] == 2
    nobody = str(tmp_path / "nobody")
    assert signed.code("docker-sign", reference, DOCKER_CONFIG=nobody)[0] == 5
    assert signed.code("docker-verify", reference, DOCKER_CONFIG=nobody)[0] == 5
    down = f"127.0.0.1:{free_port()}/{PATH}@{digest}"
    assert signed.code("docker-sign", down)[0] == 6
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("env", "git"):
        (bare / name).symlink_to(f"/usr/bin/{name}")
    code, error = signed.code("docker-sign", reference, PATH=str(bare))
    assert code == 3
    assert "install version 2 or 3" in error
    config = signed.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.partition("[sign]")[0], encoding="utf-8")
    try:
        assert signed.code("docker-sign", reference)[0] == 2
        assert signed.code("docker-verify", reference)[0] == 2
    finally:
        config.write_text(text, encoding="utf-8")


def test_a_registry_that_knows_referrers_is_signed_in_as_well(
    signed: Signed, tmp_path: Path, referrers: Path
) -> None:
    with referrers_registry(referrers) as host:
        assert ping(int(host.rpartition(":")[2])) == 401
        repository = Repository(Transport(host, KNOWN), PATH)
        config = docker_config(tmp_path / "docker", host)
        env = {**signed.env, "DOCKER_CONFIG": str(config)}
        there = replace(signed, repository=repository, host=host, env=env)
        digest = there.push("referred")
        reference = f"{there.name}@{digest}"
        assert there.code("docker-verify", reference)[0] == 8
        # The store of the other registry has nothing for this one.
        assert signed.code("docker-sign", reference)[0] == 5
        assert signed.code("docker-verify", reference)[0] == 5
        done = there.invoke("docker-sign", reference)
        assert done.returncode == 0, done.stderr
        found = there.invoke("docker-verify", reference, "--json")
        assert found.returncode == 0, found.stderr
        assert len(json.loads(found.stdout)["images"]) == 2
        # Version 3 asks the API, and leaves no tag; version 2 knows nothing but tags.
        kept = _signatures(there, digest)
        knows = "--use-signing-config" in _help(signed)
        assert bool(kept) is not knows
        # The tags of signatures are nobody's version.
        document = repository.manifest(digest)
        assert document
        repository.put_manifest("1.0.0", document)
        assert there.code("docker-verify", f"{there.name}:1.0.0")[0] == 0


def _help(signed: Signed) -> str:
    argv = ["cosign", "sign", "--help"]
    done = subprocess.run(argv, env=signed.env, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_lines_of_a_dry_run_do_it(signed: Signed) -> None:
    digest = signed.push("dry")
    reference = f"{signed.name}@{digest}"
    lines = signed.invoke("docker-sign", reference, "--dry-run").stdout
    assert signed.code("docker-verify", reference)[0] == 8
    verify = signed.invoke("docker-verify", reference, "--dry-run").stdout
    for text in (lines, verify):
        done = subprocess.run(
            ["bash", "-ec", text],
            cwd=signed.root.parent,
            env=signed.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert signed.code("docker-verify", reference)[0] == 0
