"""What is known about signing before there is anything to sign: keys, passwords, tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Checkout, git
from gitscript import commit_all

from buildlib.doctor.check import MISSING
from buildlib.doctor.programs import key as doctor_key
from buildlib.errors import InputError, ProblemsError
from buildlib.executor import Completed
from buildlib.publish.signing import check_signer, tracked_key

from fakes import FakeExecutor, a_project, write_project

CONFIG = """\
image = "thing"
[sign]
key = "cosign.key"
[verify]
key = "cosign.pub"
"""

PUBLIC = "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n"
KEYS = {
    "a wrong password": (1, "", "Error: decrypt: decryption failed\n", "COSIGN_PASSWORD"),
    "no password": (1, "", "Enter password for private key: Error: ioctl\n", "COSIGN_PASSWORD"),
    "no file": (1, "", "Error: open cosign.key: no such file\n", "the key can't be used"),
    "a public key": (1, "", "Error: unsupported pem type: PUBLIC KEY\n", "the key can't be used"),
    "another pair": (0, PUBLIC.format("QUJD"), "", "is not the public key of cosign.key"),
    "its pair": (0, PUBLIC.format("REVG"), "", ""),
}  # fmt: skip


def _cosign(answer: Completed) -> FakeExecutor:
    return FakeExecutor(
        {
            ("cosign", "version"): Completed(code=0),
            ("cosign", "sign", "--help"): Completed(code=0, stdout="--tlog-upload"),
            ("cosign", "public-key"): answer,
        }
    )


@pytest.mark.parametrize(("code", "out", "err", "told"), KEYS.values(), ids=KEYS)
def test_a_key_that_can_not_sign_is_told_before_the_build(
    tmp_path: Path, code: int, out: str, err: str, told: str
) -> None:
    (tmp_path / "cosign.pub").write_text(PUBLIC.format("REVG").replace("\n", "\r\n"), "utf-8")
    config = a_project(write_project(tmp_path, CONFIG)).config
    cosign = _cosign(Completed(code=code, stdout=out, stderr=err))
    if told:
        with pytest.raises(InputError, match=told) as caught:
            check_signer(config, (), cosign)
        assert caught.value.hint
    else:
        assert check_signer(config, (), cosign).version == "unknown"
    assert ("cosign", "public-key", "--key", str(tmp_path / "cosign.key")) in cosign.asked


def test_a_public_key_that_is_not_there_is_told_before_the_build(tmp_path: Path) -> None:
    config = a_project(write_project(tmp_path, CONFIG)).config
    cosign = _cosign(Completed(code=0, stdout=PUBLIC.format("REVG")))
    with pytest.raises(InputError, match="the public key can't be read"):
        check_signer(config, (), cosign)


def test_a_key_in_a_cloud_is_not_asked_for(tmp_path: Path) -> None:
    text = CONFIG.replace('"cosign.key"', '"awskms:///alias/mine"')
    config = a_project(write_project(tmp_path, text)).config
    cosign = _cosign(Completed(code=1))
    assert check_signer(config, (), cosign).version == "unknown"
    assert not any("public-key" in words for words in cosign.asked)


@pytest.mark.parametrize("link", [False, True])
def test_a_private_key_that_git_tracks_is_refused(tmp_path: Path, *, link: bool) -> None:
    config = a_project(write_project(tmp_path, CONFIG)).config
    git(tmp_path, "init", "--quiet")
    (tmp_path / "keys").mkdir()
    key = tmp_path / ("keys/mine" if link else "cosign.key")
    key.write_text("x", encoding="utf-8")
    if link:
        (tmp_path / "cosign.key").symlink_to("keys/mine")
    assert tracked_key(config) is None
    git(tmp_path, "add", "cosign.key")
    # A link alone holds nothing; what it leads to does.
    assert (tracked_key(config) is None) == link
    git(tmp_path, "add", "--all")
    problem = tracked_key(config)
    assert problem
    assert problem.what == "the private key cosign.key is tracked by git"
    assert "git rm --cached cosign.key" in problem.hint
    (told,) = doctor_key(config, FakeExecutor(), opened=False)
    assert told.state == MISSING
    assert told.fix == str(problem)


def test_all_that_is_wrong_with_signing_is_told_at_once(tmp_path: Path) -> None:
    text = 'image = "thing"\n[verify]\nattestations = ["spdxjson"]\n'
    config = a_project(write_project(tmp_path, text)).config
    with pytest.raises(ProblemsError) as caught:
        check_signer(config, (), FakeExecutor())
    said = [problem.what for problem in caught.value.problems]
    assert said == [
        "signing is not configured",
        "verification is not configured",
        "verify wants spdxjson, and no SBOM is made",
        "cosign not found: nothing can be signed or verified",
    ]


Make = Callable[..., Checkout]
EVERYTHING = """\
platforms = ["linux/amd64"]
[registries.one]
repository = "127.0.0.1:1/thing"
[sign]
key = "cosign.key"
[verify]
key = "cosign.pub"
[publish]
gates = ["scan", "sbom"]
"""


def test_publishing_tells_all_of_it_before_the_build(make_checkout: Make, tmp_path: Path) -> None:
    checkout = make_checkout(config=EVERYTHING)
    (checkout.root / "cosign.key").write_text("x", encoding="utf-8")
    commit_all(checkout.root)
    (checkout.root / "new").write_text("x", encoding="utf-8")
    (tmp_path / "bin").mkdir()
    for name in ("git", "env"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    done = checkout.invoke("docker-publish", PATH=str(tmp_path / "bin"))
    assert done.returncode == 2
    for said in (
        "the tree has files that git does not track",
        "HEAD is not on a release tag",
        "the private key cosign.key is tracked by git",
        "cosign not found",
        "syft not found",
        "grype",
        "docker not found",
    ):
        assert said in done.stderr
    assert not (checkout.root / "dist").exists()
