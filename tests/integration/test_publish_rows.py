"""Publishing when registries, tools and other publishers fail: faults.md, rows 40 to 50."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import faults
import pytest
from conftest import git
from faults import INDEX, RESUMED, SKIP, TAGS, Setting, something_else
from grypedb import Advisory
from registries import Fault, Proxy, docker_config
from releases import UNSIGNED, Release, make_release, only

from buildlib.errors import (
    BuildlibError,
    CancelledError,
    GateError,
    InputError,
    TransientError,
    exit_code_of,
)
from buildlib.registry.claim import BLOBS

pytestmark = [pytest.mark.release, pytest.mark.unmeasured, pytest.mark.timeout(2400)]
setting, digest, _afresh = faults.setting, faults.digest, faults.afresh


def test_row_40_credentials_that_are_missing_wrong_or_locked_away(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    release, hosts = setting.release, list(setting.release.hosts.values())
    none = release.invoke("docker-publish", "--resume", DOCKER_CONFIG=str(tmp_path / "none"))
    assert none.returncode == 5, none.stderr
    assert all(f"{host} wants credentials, and none were found" in none.stderr for host in hosts)
    wrong = docker_config(tmp_path / "wrong", *hosts, password="wrong")
    refused = release.invoke("docker-publish", "--resume", DOCKER_CONFIG=str(wrong))
    assert refused.returncode == 5
    assert f"{hosts[0]} refuses the credentials" in refused.stderr
    (tmp_path / "config.json").write_text('{"credsStore": "gone"}', encoding="utf-8")
    helper = release.invoke("docker-publish", "--resume", DOCKER_CONFIG=str(tmp_path))
    assert helper.returncode == 3
    assert "docker-credential-gone" in helper.stderr
    assert hosts[0] in helper.stderr
    assert release.tags == [{}, {}]


def test_row_41_one_of_two_may_not_be_written_to(setting: Setting, digest: str) -> None:
    setting.proxy.always["POST"] = Fault(status=403)
    error = setting.raised()
    assert exit_code_of(error) == 5
    assert not any(server.holds(digest) for server in setting.servers)


def test_row_42_what_may_pass_is_tried_again_and_counted(setting: Setting, digest: str) -> None:
    setting.proxy.plan.update({4: Fault(status=503), 9: Fault(reset=True)})
    text = setting.release.publish(RESUMED)
    setting.finished(digest)
    assert setting.release.receipt["targets"]["one"]["retries"] == 2
    assert "published, 2 retries" in text


def test_row_42_but_not_for_ever(setting: Setting, digest: str) -> None:
    setting.proxy.always["PUT .*/manifests/"] = Fault(status=503, headers={"Retry-After": "0"})
    error = setting.raised()
    assert isinstance(error, TransientError)
    assert "3 attempts" in str(error)
    setting.check(digest)
    assert setting.release.tags == [{}, {}]


@pytest.mark.parametrize(("status", "code"), [(400, 4), (401, 5), (403, 5), (404, 4)])
def test_row_43_what_will_not_pass_is_not_tried_again(
    setting: Setting, digest: str, status: int, code: int
) -> None:
    assert digest
    setting.proxy.always["PUT .*/manifests/"] = Fault(status=status)
    assert exit_code_of(setting.raised()) == code
    assert len(setting.proxy.sent("PUT", "/manifests/")) == 1


def test_row_44_a_push_that_is_cut_sends_only_what_is_missing(
    setting: Setting, digest: str
) -> None:
    release, proxy = setting.release, setting.proxy
    release.publish(RESUMED)
    first, second, third = _blobs(proxy)
    setting.forget()
    # In the middle of a blob, as often as it is tried.
    proxy.always[f"PUT .*digest={second}"] = Fault(cut=5)
    assert isinstance(setting.raised(), TransientError)
    assert _blobs(proxy) == [first, second, second, second]
    assert release.tags == [{}, {}]
    proxy.always.clear()
    proxy.seen.clear()
    release.publish(RESUMED)
    setting.finished(digest)
    assert _blobs(proxy) == [second, third]
    one = release.receipt["targets"]["one"]
    assert (one["sent"], one["there"]) == (2, 1)


def _blobs(proxy: Proxy) -> list[str]:
    """Return the blobs that were sent, or begun to be, in order; but for the claim's."""
    sent = [line.partition("digest=")[2] for line in proxy.sent("PUT", ".*digest=")]
    return [digest for digest in sent if unquote(digest) not in BLOBS]


def test_row_45_one_of_two_registries_fails(setting: Setting, digest: str) -> None:
    (setting.release.root / "dist/receipt.json").unlink()
    setting.proxy.always["PUT .*/blobs/"] = Fault(status=500)
    error = setting.raised(UNSIGNED)
    assert exit_code_of(error) == 6
    # The other one is not left behind, but nothing points to what it holds.
    assert setting.servers[1].holds(digest)
    assert setting.release.tags == [{}, {}]
    outcome = {name: one["error"] for name, one in setting.release.receipt["targets"].items()}
    assert outcome["one"]
    assert outcome["two"] == ""
    setting.proxy.always.clear()
    setting.release.publish(RESUMED)
    setting.finished(digest)
    assert setting.release.receipt["targets"]["two"]["sent"] == 0


def test_row_46_a_version_that_is_another_image_stays_so(setting: Setting, digest: str) -> None:
    other = something_else(setting.servers[1], "1.2.3")
    error = setting.raised()
    assert isinstance(error, GateError)
    assert "1.2.3 already exists with a different digest" in str(error)
    assert setting.release.tags == [{}, {"1.2.3": other}]
    # Found before anything was sent.
    assert not setting.servers[0].holds(digest)


def test_row_47_two_publishers_of_one_version(setting: Setting, tmp_path: Path) -> None:
    hosts = {"one": setting.servers[0].host, "two": setting.servers[1].host}
    releases = [
        make_release(tmp_path / name / "repo", hosts, setting.servers) for name in ("a", "b")
    ]
    for number, release in enumerate(releases):
        (release.root / "program").write_text(f"of {number}", encoding="utf-8")
        git(release.root, "commit", "--all", "--quiet", "--message", "another")
        git(release.root, "tag", "--force", "v1.2.3")
    argv = ["docker-publish", "--skip-gate", "sign", "--reason", "two at once"]
    runs = [
        subprocess.Popen(
            release.command(*argv),
            cwd=release.root,
            env=release.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for release in releases
    ]
    texts = [run.communicate(timeout=300)[0] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 7], texts
    winner, loser = releases[codes.index(0)], texts[codes.index(7)]
    assert "already exists with a different digest" in loser
    digest = winner.receipt["digest"]
    assert {release.receipt["digest"] for release in releases} > {digest}
    setting.finished(digest)
    # Whoever tries again: it stays so.
    with pytest.raises(BuildlibError, match="already exists with a different digest"):
        releases[codes.index(7)].publish(RESUMED)
    winner.publish(RESUMED)
    setting.finished(digest)


def test_row_47_two_publishers_in_one_checkout(setting: Setting, digest: str) -> None:
    seen: list[BuildlibError] = []

    def reached(step: str) -> None:
        if step == "gates":
            with pytest.raises(TransientError, match="another publication is running") as caught:
                setting.release.publish(RESUMED)
            seen.append(caught.value)

    setting.release.publish(RESUMED, reached=reached)
    assert len(seen) == 1
    setting.finished(digest)


def test_row_48_a_registry_that_holds_something_else_after_the_push(
    setting: Setting, digest: str
) -> None:
    setting.proxy.always["GET .*/manifests/sha256"] = Fault(
        status=200, headers={"Content-Type": INDEX}, body=b'{"manifests": []}'
    )
    error = setting.raised()
    assert isinstance(error, GateError)
    assert "has another digest" in str(error)
    assert setting.release.tags == [{}, {}]
    assert setting.servers[1].holds(digest)


def test_row_48_a_tag_that_is_moved_while_others_are_given(setting: Setting, digest: str) -> None:
    other: list[str] = []

    def reached(step: str) -> None:
        if step == "tag two 1.2.3":
            other.append(something_else(setting.servers[0], "1.2.3"))

    with pytest.raises(GateError, match="was moved by another publisher") as caught:
        setting.release.publish(RESUMED, reached=reached)
    assert other[0] in str(caught.value)
    assert digest in str(caught.value)
    # What moves has not gone on to a digest that the version is not everywhere.
    assert setting.release.tags == [{"1.2.3": other[0]}, {"1.2.3": digest}]


@pytest.mark.parametrize("change", ["edited", "committed"])
def test_files_that_change_while_they_are_built_are_not_published(
    setting: Setting, digest: str, change: str
) -> None:
    release = setting.release
    revision = git(release.root, "rev-parse", "HEAD")
    shutil.rmtree(release.root / "dist")

    def meddle(step: str) -> None:
        if step == "preflight":
            (release.root / "program").write_text("another one", encoding="utf-8")
            if change == "committed":
                git(release.root, "commit", "--all", "--quiet", "--message", "meanwhile")

    try:
        with pytest.raises(InputError, match="the files changed while the image was built"):
            release.publish(reached=meddle)
    finally:
        git(release.root, "reset", "--quiet", "--hard", revision)
    assert release.tags == [{}, {}]
    # Nor later: what was built bears the version's name.
    assert not (release.root / "dist/thing-1.2.3.oci.tar").exists()
    release.publish(RESUMED)
    setting.finished(digest)


def test_what_a_tag_stood_for_is_known_after_a_break_and_whatever_comes_then(
    setting: Setting, digest: str
) -> None:
    (setting.release.root / "dist/receipt.json").unlink()
    other = something_else(setting.servers[0], "latest")

    def broken_off(step: str) -> None:
        if step == "tag one latest":
            raise CancelledError("broken off")

    with pytest.raises(CancelledError):
        setting.release.publish(reached=broken_off)
    expected = {"digest": digest, "before": other}
    assert setting.release.receipt["targets"]["one"]["tags"]["latest"] == expected
    setting.release.publish(RESUMED)
    setting.finished(digest)
    assert setting.release.receipt["targets"]["one"]["tags"]["latest"] == expected
    # One that is refused before it begins has not made any of that undone.
    setting.proxy.always["POST"] = Fault(status=403)
    error = setting.raised()
    assert exit_code_of(error) == 5
    assert "403" in str(error)
    known = setting.release.receipt["targets"]["one"]
    assert (known["digest"], known["tags"]["latest"]) == (digest, expected)


def test_an_archive_that_was_built_otherwise_is_built_anew(setting: Setting, digest: str) -> None:
    path = setting.release.root / "dist/receipt.json"
    receipt = setting.release.receipt
    assert "buildx build" not in setting.release.publish(RESUMED)
    # As if another base image had been handed in by the environment then.
    path.write_text(json.dumps(receipt | {"built_by": "0" * 64}), encoding="utf-8")
    assert "buildx build" in setting.release.publish(RESUMED)
    setting.finished(digest)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, setting: Setting) -> Release:
    """Return a release for one platform whose gate is the scanner, with a package in it."""
    folder = tmp_path_factory.mktemp("scanned")
    hosts = {"one": setting.servers[0].host, "two": setting.servers[1].host}
    release = make_release(folder / "repo", hosts, setting.servers, gates=["scan"])
    config = release.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(', "linux/arm64"', ""), encoding="utf-8")
    package = {"name": "leaky", "version": "1.2.3", "license": "MIT"}
    (release.root / "package.json").write_text(json.dumps(package), encoding="utf-8")
    dockerfile = release.root / "Dockerfile"
    copy = "COPY package.json /usr/lib/node_modules/leaky/package.json\n"
    text = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(text.replace("USER", f"{copy}USER"), encoding="utf-8")
    (release.root / ".dockerignore").write_text("*\n!program\n!package.json\n", encoding="utf-8")
    release.commit("with a package", "v1.2.4")
    return release


def test_row_49_without_a_scanner_or_its_database_the_gate_has_not_passed(
    scanned: Release, database: Callable[..., dict[str, str | None]], tmp_path: Path
) -> None:
    env = only(tmp_path / "bin", "docker", "git", "env")
    done = scanned.invoke("docker-publish", *SKIP, **env)
    assert done.returncode == 3, done.stderr
    assert "grype and trivy not found: nothing was scanned" in done.stderr
    # Said before anything is built.
    assert "buildx build" not in done.stderr
    known = {name: str(value) for name, value in database().items()}
    known["GRYPE_DB_CACHE_DIR"] = str(tmp_path / "nothing")
    done = scanned.invoke("docker-publish", *SKIP, **known)
    assert done.returncode == 3, done.stderr
    assert scanned.tags == [{}, {}]


def test_row_50_a_finding_above_the_threshold_blocks(
    scanned: Release, database: Callable[..., dict[str, str | None]]
) -> None:
    bad = Advisory("GHSA-leak-leak-leak", "CVE-2026-0001", "high", "npm", "leaky", "<2", "2.0.0")
    env = {name: str(value) for name, value in database(bad).items()}
    ignore = '\n[[scan.ignore]]\nid = "CVE-2026-0001"\nreason = "never reached"\nuntil = {}\n'
    config = scanned.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    for number, (until, code) in enumerate([("2020-01-01", 7), ("2099-01-01", 0)]):
        config.write_text(text + ignore.format(until), encoding="utf-8")
        scanned.commit(f"ignored until {until}", f"v1.2.{5 + number}")
        done = scanned.invoke("docker-publish", *SKIP, **env)
        assert done.returncode == code, done.stderr
        assert "GHSA-leak-leak-leak" in done.stderr
        assert (scanned.tags == [{}, {}]) == bool(code)
    assert sorted(scanned.tags[0]) == ["1", "1.2", "1.2.6", "latest"]


@pytest.mark.parametrize("registries", ["optional", "required"])
def test_an_optional_registry_that_fails_is_left_behind(
    setting: Setting, tmp_path: Path, registries: str
) -> None:
    hosts = dict(setting.release.hosts)
    release = make_release(tmp_path / "repo", hosts, setting.servers)
    config = release.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    if registries == "optional":
        text = text.replace("[registries.one]", "[registries.one]\nrequired = false")
    config.write_text(text, encoding="utf-8")
    git(release.root, "commit", "--all", "--allow-empty", "--quiet", "--message", "x")
    git(release.root, "tag", "--force", "v1.2.3")
    setting.proxy.always["PUT .*/manifests/"] = Fault(status=500)
    if registries == "required":
        with pytest.raises(TransientError):
            release.publish()
        assert release.tags == [{}, {}]
        return
    text = release.publish()
    assert "one failed, and is not required" in text
    assert [sorted(tags) for tags in release.tags] == [[], TAGS]
    # Whatever it is that fails there: here a version that is another image.
    release.forget()
    setting.proxy.always.clear()
    other = something_else(setting.servers[0], "1.2.3")
    assert "already exists with a different digest" in release.publish()
    assert release.tags[0] == {"1.2.3": other}
    assert sorted(release.tags[1]) == TAGS
