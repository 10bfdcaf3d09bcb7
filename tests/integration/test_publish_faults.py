"""Publishing when registries, networks, tools and other publishers fail: faults.md, rows 40 to 53.

What is held after each: no public tag stands for anything but the digest that passed the gates, no
tag that moves has moved unless every registry holds that digest, and a second run finishes.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import pytest
from conftest import git
from grypedb import Advisory
from registries import PASSWORD, USER, Fault, Proxy, Server, docker_config, fault_proxy, registry
from releases import PATH, PLAIN, QUICK, UNSIGNED, Release, make_release

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    GateError,
    TransientError,
    VerificationError,
    exit_code_of,
)
from buildlib.registry.client import Document, Repository
from buildlib.registry.credentials import Credentials
from buildlib.registry.transport import Patience, Transport

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]
PINNED = ["1.2.3"]
TAGS = ["1", "1.2", "1.2.3", "latest"]
RESUMED = UNSIGNED._replace(resume=True)


@dataclass(frozen=True)
class Setting:
    """A release whose registries are reached through a proxy each."""

    release: Release
    proxies: tuple[Proxy, Proxy]

    @property
    def proxy(self) -> Proxy:
        """Return that of the first registry."""
        return self.proxies[0]

    @property
    def servers(self) -> list[Server]:
        return list(self.release.servers)

    def check(self, digest: str) -> None:
        """See that nothing is public that must not be."""
        for tags in self.release.tags:
            assert set(tags.values()) <= {digest}
        if any(set(tags) - set(PINNED) for tags in self.release.tags):
            assert all(server.holds(digest) for server in self.servers)
            assert all("1.2.3" in tags for tags in self.release.tags)

    def finished(self, digest: str) -> None:
        assert self.release.tags == [dict.fromkeys(TAGS, digest)] * 2


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    folder = tmp_path_factory.mktemp("faults")
    with (
        registry(folder / "one") as one,
        registry(folder / "two") as two,
        fault_proxy(one.port) as first,
        fault_proxy(two.port) as second,
    ):
        hosts = {"one": first.host, "two": second.host}
        yield Setting(make_release(folder / "work/repo", hosts, [one, two]), (first, second))


@pytest.fixture(autouse=True)
def _afresh(setting: Setting) -> Iterator[None]:
    yield
    _forget(setting)


def _forget(setting: Setting) -> None:
    setting.release.forget()
    for proxy in setting.proxies:
        proxy.plan.clear()
        proxy.always.clear()
        proxy.seen.clear()


@pytest.fixture(scope="module")
def digest(setting: Setting) -> str:
    """Return the digest of the archive, which is built and has passed its gates."""
    setting.release.publish()
    found = str(setting.release.receipt["digest"])
    setting.finished(found)
    _forget(setting)
    return found


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        fault: what happens to one request.
        refused: it ends the run; else it is tried again, and nobody need do anything.
        step: it happens to every so-manieth request of the first registry, and to a third as many
            of the second's; the kinds begin at different ones, so that each request meets several,
            or one.
        patience: of the client.
    """

    fault: Fault
    refused: bool = False
    step: int = 3
    patience: Patience = QUICK


# Silent for longer than the client waits; the registry never hears of the request.
_STALL = Kind(Fault(stall=1.0, reset=True), patience=replace(QUICK, attempts=6, timeout=0.5))
KINDS = {
    "403": Kind(Fault(status=403), refused=True, step=1),
    "a reset after it was done": Kind(Fault(reset=True, done=True), step=1),
    "401": Kind(Fault(status=401), refused=True),
    "429": Kind(Fault(status=429, headers={"Retry-After": "1"})),
    "500": Kind(Fault(status=500)),
    "502": Kind(Fault(status=502, body=b"<html>")),
    "503 after it was done": Kind(Fault(status=503, done=True)),
    "a reset": Kind(Fault(reset=True)),
    "a stall": _STALL,
    "a cut at byte 5": Kind(Fault(cut=5)),
    "a cut at byte 300": Kind(Fault(cut=300)),
}


@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", KINDS)
def test_a_fault_at_any_request_publishes_nothing_wrong(
    setting: Setting, digest: str, request: pytest.FixtureRequest, name: str, which: int
) -> None:
    release, proxy, kind = setting.release, setting.proxies[which], KINDS[name]
    release.publish(RESUMED)
    total = len(proxy.seen)
    _forget(setting)
    assert total > 30
    everywhere = request.config.getoption("--every-request")
    step = 1 if everywhere else kind.step * (1 + 2 * which)
    for number in range(list(KINDS).index(name) % step, total, step):
        proxy.plan[number] = kind.fault
        broken = _breaks(release, kind.patience)
        # What may pass is survived at once; what may not ends the run.
        assert broken == kind.refused, proxy.seen[number]
        setting.check(digest)
        arrived = [line for line in proxy.seen if "digest=" in line]
        if broken:
            proxy.plan.clear()
            proxy.seen.clear()
            release.publish(RESUMED)
            arrived += [line for line in proxy.seen if "digest=" in line]
        setting.finished(digest)
        # Three blobs; one more upload for the one that broke off, and no other twice.
        assert len(arrived) <= 4, number
        _forget(setting)


def _breaks(release: Release, patience: Patience) -> bool:
    try:
        release.publish(RESUMED, patience=patience)
    except BuildlibError:
        return True
    return False


SIGNED = PLAIN._replace(resume=True)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
def test_a_fault_while_it_is_signed_publishes_nothing_wrong(
    setting: Setting, digest: str, request: pytest.FixtureRequest, which: int
) -> None:
    release, proxy = setting.release, setting.proxies[which]
    signed = _signed_requests(setting, which)
    step = 1 if request.config.getoption("--every-request") else len(signed) // (6, 3)[which]
    # The kinds go on where those of the first registry's ordinary run end.
    kinds = cycle([*KINDS.values()][6 * which :] + [*KINDS.values()][: 6 * which])
    for number, kind in zip(signed[step // 2 :: step], kinds, strict=False):
        proxy.plan[number] = kind.fault
        code = _code(release, kind.patience)
        assert len(proxy.seen) > number
        assert code in {0, 5, 6, 8}
        assert code == 0 or release.tags == [{}, {}]
        setting.check(digest)
        proxy.plan.clear()
        release.publish(SIGNED)
        setting.finished(digest)
        _forget(setting)


def _signed_requests(setting: Setting, which: int) -> range:
    """Return the numbers of the requests to a registry that only a run that signs makes."""
    seen, marks = setting.proxies[which].seen, {}
    setting.release.publish(RESUMED)
    others = len(seen)
    _forget(setting)
    setting.release.publish(SIGNED, reached=lambda step: marks.update({step: len(seen)}))
    name = list(setting.release.hosts)[which]
    signed = range(marks[f"push {name}"], marks[f"sign {name}"])
    assert len(seen) == others + len(signed)
    assert len(signed) > 60
    _forget(setting)
    return signed


def _code(release: Release, patience: Patience) -> int:
    """Publish with signatures, and return the code that the task would exit with."""
    try:
        release.publish(SIGNED, patience=patience)
    except BuildlibError as error:
        return exit_code_of(error)
    return 0


KILLED = """
import os, signal, sys
sys.path[:0] = {path!r}
from pathlib import Path
from buildlib.tasks.edge import Edge
from buildlib.tasks.publishing import NOTHING, publish
reached = []
def kill(step):
    reached.append(step)
    if len(reached) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
wanted = NOTHING._replace(resume={resume}, skips={skips!r}, reason={reason!r})
run = Edge(Path("."), dict(os.environ), dry=False, quiet=True)
publish(run, wanted, settle=0.0, reached=kill)
"""


def _killed(release: Release, number: int, folder: Path, *, signed: bool) -> int:
    """Kill a run after a step; nothing is left of it, in the directory for that either."""
    wanted = PLAIN if signed else UNSIGNED
    resume = (release.root / "dist/receipt.json").is_file()
    code = KILLED.format(
        path=sys.path,
        number=number,
        resume=resume,
        skips=wanted.skips,
        reason=wanted.reason,
    )
    before = _files(release)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=release.root,
        env={**release.env, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    assert list(folder.iterdir()) == []
    assert _files(release) - before <= {"receipt.json", "thing-1.2.3.oci.tar"}
    return done.returncode


def _files(release: Release) -> set[str]:
    """Return what lies in dist, but for BuildKit's statements."""
    found = {path.name for path in (release.root / "dist").glob("*")}
    return {name for name in found if not name.endswith(".buildkit.json")}


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_killed_after_any_step_it_is_finished_by_the_next_run(
    setting: Setting, digest: str, tmp_path: Path, *, signed: bool
) -> None:
    release = setting.release
    wanted = PLAIN if signed else UNSIGNED
    steps: list[str] = []
    release.publish(wanted._replace(resume=True), reached=steps.append)
    assert steps[:4] == ["begun", "preflight", "build", "gates"]
    assert steps[-1] == "ended"
    _forget(setting)
    # Signing takes its time: only around it, where it matters.
    numbers = range(5, 9) if signed else range(1, len(steps))
    for number in numbers:
        assert _killed(release, number, tmp_path, signed=signed) == -signal.SIGKILL, steps[
            number - 1
        ]
        setting.check(digest)
        release.publish(wanted._replace(resume=True))
        setting.finished(digest)
        assert release.receipt["finished"] is True
        _forget(setting)


FIRST_STEPS = ["begun", "preflight", "build", "gates"]


@pytest.mark.parametrize("moment", [*FIRST_STEPS, "in the build"])
def test_a_first_publication_that_is_killed_is_finished_by_the_next_run(
    setting: Setting, digest: str, tmp_path: Path, moment: str
) -> None:
    release, has_built = setting.release, moment in {"build", "gates"}
    shutil.rmtree(release.root / "dist")
    if moment in FIRST_STEPS:
        number = FIRST_STEPS.index(moment) + 1
        assert _killed(release, number, tmp_path, signed=False) == -signal.SIGKILL
    else:
        run = _started(release, ["docker-publish", *SKIP], release.env)
        _until(run, "docker buildx build")
        assert _ended_by(run, signal.SIGKILL)[0] == -signal.SIGKILL
    assert release.receipt["digest"] == (digest if has_built else "")
    assert release.tags == [{}, {}]
    text = release.publish(RESUMED)
    setting.finished(digest)
    assert ("docker buildx build" in text) is not has_built
    assert _files(release) == {"receipt.json", "thing-1.2.3.oci.tar"}


def _raised(setting: Setting, **changes: object) -> BuildlibError:
    with pytest.raises(BuildlibError) as caught:
        setting.release.publish(RESUMED._replace(**changes))  # type: ignore[arg-type]
    return caught.value


def test_row_40_credentials_that_are_missing_wrong_or_locked_away(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    release, hosts = setting.release, list(setting.release.hosts.values())
    none = release.invoke("docker-publish", "--resume", DOCKER_CONFIG=str(tmp_path / "none"))
    assert none.returncode == 5, none.stderr
    assert all(f"{host} wants credentials, and there are none" in none.stderr for host in hosts)
    wrong = docker_config(tmp_path / "wrong", *hosts, password="wrong")  # noqa: S106 - on purpose
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
    error = _raised(setting)
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
    error = _raised(setting)
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
    assert exit_code_of(_raised(setting)) == code
    assert len(setting.proxy.sent("PUT", "/manifests/")) == 1


def test_row_44_a_push_that_is_cut_sends_only_what_is_missing(
    setting: Setting, digest: str
) -> None:
    release, proxy = setting.release, setting.proxy
    release.publish(RESUMED)
    first, second, third = _blobs(proxy)
    _forget(setting)
    # In the middle of a blob, as often as it is tried.
    proxy.always[f"PUT .*digest={second}"] = Fault(cut=5)
    assert isinstance(_raised(setting), TransientError)
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
    """Return the blobs that were sent, or begun to be, in order."""
    return [line.partition("digest=")[2] for line in proxy.sent("PUT", ".*digest=")]


def test_row_45_one_of_two_registries_fails(setting: Setting, digest: str) -> None:
    setting.proxy.always["PUT .*/blobs/"] = Fault(status=500)
    error = _raised(setting)
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


def _client(server: Server) -> Repository:
    known = Credentials(username=USER, secret=PASSWORD, source="the test")
    return Repository(Transport(server.host, known), PATH)


def _something_else(server: Server, tag: str) -> str:
    """Let a tag stand for an image that nobody judged."""
    repository = _client(server)
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    document = Document(data, INDEX)
    repository.put_manifest(tag, document)
    return document.digest


INDEX = "application/vnd.oci.image.index.v1+json"


def test_row_46_a_version_that_is_another_image_stays_so(setting: Setting, digest: str) -> None:
    other = _something_else(setting.servers[1], "1.2.3")
    error = _raised(setting)
    assert isinstance(error, GateError)
    assert "1.2.3 is another image already" in str(error)
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
    texts = [run.communicate(timeout=120)[0] for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 7], texts
    winner, loser = releases[codes.index(0)], texts[codes.index(7)]
    # Seen before the tag is given, when it is read back, or after the moment that is waited.
    told = ("is another image", "holds another image", "was moved by somebody else")
    assert any(words in loser for words in told), loser
    digest = winner.receipt["digest"]
    assert {release.receipt["digest"] for release in releases} > {digest}
    setting.finished(digest)
    # Whoever tries again: it stays so.
    with pytest.raises(BuildlibError, match="is another image already"):
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
    error = _raised(setting)
    assert isinstance(error, GateError)
    assert "is something else" in str(error)
    assert setting.release.tags == [{}, {}]
    assert setting.servers[1].holds(digest)


def test_row_48_a_tag_that_is_moved_while_others_are_given(setting: Setting, digest: str) -> None:
    other: list[str] = []

    def reached(step: str) -> None:
        if step == "tag two 1.2.3":
            other.append(_something_else(setting.servers[0], "1.2.3"))

    with pytest.raises(GateError, match="was moved by somebody else") as caught:
        setting.release.publish(RESUMED, reached=reached)
    assert other[0] in str(caught.value)
    assert digest in str(caught.value)
    # What moves has not gone on to a digest that the version is not everywhere.
    assert setting.release.tags == [{"1.2.3": other[0]}, {"1.2.3": digest}]


@contextmanager
def _only(folder: Path, *programs: str) -> Iterator[dict[str, str]]:
    """Give a PATH with these programs of this machine's and no other."""
    folder.mkdir()
    for name in programs:
        found = next(
            Path(part, name)
            for part in os.environ["PATH"].split(os.pathsep)
            if Path(part, name).is_file()
        )
        (folder / name).symlink_to(found)
    yield {"PATH": str(folder)}


def test_row_49_without_cosign_nothing_is_signed_and_nothing_published(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    with _only(tmp_path / "bin", "docker", "git", "env") as env:
        done = setting.release.invoke("docker-publish", "--resume", **env)
    assert done.returncode == 3, done.stderr
    assert "cosign not found" in done.stderr
    assert setting.release.tags == [{}, {}]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, setting: Setting) -> Release:
    """Return a release whose gate is the scanner, with a package that can be known."""
    folder = tmp_path_factory.mktemp("scanned")
    hosts = {"one": setting.servers[0].host, "two": setting.servers[1].host}
    release = make_release(folder / "repo", hosts, setting.servers, gates=["scan"])
    package = {"name": "leaky", "version": "1.2.3", "license": "MIT"}
    (release.root / "package.json").write_text(json.dumps(package), encoding="utf-8")
    dockerfile = release.root / "Dockerfile"
    copy = "COPY package.json /usr/lib/node_modules/leaky/package.json\n"
    text = dockerfile.read_text(encoding="utf-8")
    dockerfile.write_text(text.replace("USER", f"{copy}USER"), encoding="utf-8")
    (release.root / ".dockerignore").write_text("*\n!program\n!package.json\n", encoding="utf-8")
    release.commit("with a package", "v1.2.4")
    return release


SKIP = ["--skip-gate", "sign", "--reason", "signatures are another test's"]


def test_row_49_without_a_scanner_or_its_database_the_gate_has_not_passed(
    scanned: Release, database: Callable[..., dict[str, str | None]], tmp_path: Path
) -> None:
    with _only(tmp_path / "bin", "docker", "git", "env") as env:
        done = scanned.invoke("docker-publish", *SKIP, **env)
    assert done.returncode == 3, done.stderr
    assert "grype and trivy not found: the gate has not passed" in done.stderr
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
    done = scanned.invoke("docker-publish", *SKIP, **env)
    assert done.returncode == 7, done.stderr
    assert "GHSA-leak-leak-leak" in done.stderr
    assert scanned.tags == [{}, {}]
    ignore = '\n[[scan.ignore]]\nid = "CVE-2026-0001"\nreason = "never reached"\nuntil = {}\n'
    config = scanned.root / "buildlib.toml"
    text = config.read_text(encoding="utf-8")
    for number, (until, code) in enumerate([("2020-01-01", 7), ("2099-01-01", 0)]):
        config.write_text(text + ignore.format(until), encoding="utf-8")
        scanned.commit(f"ignored until {until}", f"v1.2.{5 + number}")
        done = scanned.invoke("docker-publish", *SKIP, **env)
        assert done.returncode == code, done.stderr
    assert sorted(scanned.tags[0]) == ["1", "1.2", "1.2.6", "latest"]


def test_row_51_what_a_stranger_could_not_verify_gets_no_tag(
    setting: Setting, digest: str, tmp_path: Path
) -> None:
    assert digest
    release = setting.release
    public = release.root.parent / "cosign.pub"
    kept = public.read_bytes()
    subprocess.run(
        ["cosign", "generate-key-pair"],
        cwd=tmp_path,
        env=release.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    public.write_bytes((tmp_path / "cosign.pub").read_bytes())
    try:
        with pytest.raises(BuildlibError) as caught:
            release.publish(PLAIN._replace(resume=True))
    finally:
        public.write_bytes(kept)
    assert exit_code_of(caught.value) == VerificationError.exit_code
    assert release.tags == [{}, {}]


def _started(
    release: Release, argv: Sequence[str], env: Mapping[str, str]
) -> subprocess.Popen[str]:
    """Start a task in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        release.command(*argv),
        cwd=release.root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def _ended_by(run: subprocess.Popen[str], number: int) -> tuple[int, str]:
    os.killpg(run.pid, number)
    text = run.communicate(timeout=60)[0]
    return run.returncode, text


def _until(run: subprocess.Popen[str], words: str) -> str:
    """Read what a run prints until it says something."""
    assert run.stdout
    text = ""
    while words not in text:
        line = run.stdout.readline()
        assert line, text
        text += line
    return text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("moment", ["a push", "a signature", "a gate"])
def test_row_31_interrupted_it_ends_and_leaves_nothing(
    setting: Setting, digest: str, tmp_path: Path, number: int, moment: str
) -> None:
    release = setting.release
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**release.env, "TMPDIR": str(temporary)}
    words, argv = "pushing", ["docker-publish", "--resume"]
    config = release.root / "buildlib.toml"
    kept = config.read_text(encoding="utf-8")
    if moment == "a gate":
        # A scanner that takes its time, and notes that it was started.
        slow = tmp_path / "bin" / "grype"
        slow.parent.mkdir()
        slow.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 120\n", "utf-8")
        slow.chmod(0o755)
        env["PATH"] = f"{slow.parent}{os.pathsep}{env['PATH']}"
        config.write_text(kept.replace('"policy"]', '"policy", "scan"]'), encoding="utf-8")
        git(release.root, "commit", "--all", "--amend", "--no-edit", "--quiet")
        git(release.root, "tag", "--force", "v1.2.3")
        words, argv = "gate policy passed", ["docker-publish"]
    elif moment == "a push":
        setting.proxy.always["PUT .*digest="] = Fault(stall=30)
    else:
        setting.proxy.always["PUT .*[.]sig"] = Fault(stall=30)
        words = "signing"
    run = _started(release, argv, env)
    try:
        _until(run, words)
        time.sleep(1.0)
        started = time.monotonic()
        code, text = _ended_by(run, number)
        assert time.monotonic() - started < 15
    finally:
        if moment == "a gate":
            config.write_text(kept, encoding="utf-8")
            git(release.root, "commit", "--all", "--amend", "--no-edit", "--quiet")
            git(release.root, "tag", "--force", "v1.2.3")
    assert code == 130, text
    assert "interrupted" in text
    assert "Traceback" not in text
    assert release.tags == [{}, {}]
    assert list(temporary.iterdir()) == []
    if moment == "a gate":
        for pid in (tmp_path / "pids").read_text(encoding="utf-8").split():
            assert not Path("/proc", pid).exists()
        return
    setting.proxy.always.clear()
    release.publish(RESUMED)
    setting.finished(digest)


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
    assert "one is left behind" in text
    assert [sorted(tags) for tags in release.tags] == [[], TAGS]
    # Whatever it is that fails there: here a version that is another image.
    release.forget()
    setting.proxy.always.clear()
    other = _something_else(setting.servers[0], "1.2.3")
    assert "is another image already" in release.publish()
    assert release.tags[0] == {"1.2.3": other}
    assert sorted(release.tags[1]) == TAGS


def _everything_readable(*folders: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield every file, and what is inside of archives and of signed statements."""
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield path, data
        if data[:2] == b"\x1f\x8b":
            yield path, gzip.decompress(data)
        if path.suffix == ".tar":
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for entry in tar:
                    stream = tar.extractfile(entry)
                    yield path, stream.read() if stream else b""
        if b'"payload"' in data[:2000]:
            yield path, base64.b64decode(json.loads(data)["payload"])


def _indiscreet(proxy: Proxy, secret: str) -> Iterator[tuple[dict[str, Fault], int]]:
    """Yield what a registry may say that holds a secret, and the code that it ends with."""

    def saying(status: int, text: str, **headers: str) -> Fault:
        said = {"errors": [{"code": "DENIED", "message": text}]}
        return Fault(status=status, headers=headers, body=json.dumps(said).encode())

    address = f"http://me:{secret}@{proxy.host}/v2/{PATH}/blobs/uploads/x?_state={secret}"
    yield {"POST ": saying(403, f"see {address} or https://me:{secret}@git.example/x")}, 5
    # Where a blob is to be sent: first nobody is there, and then it is no answer at all.
    yield {"POST ": Fault(status=202, headers={"Location": address})}, 4
    yield {"POST ": Fault(status=202, headers={"Location": f"https://{secret}:{secret}/x"})}, 4
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{proxy.host}/token",service="x"'}
    given = Fault(status=200, body=json.dumps({"token": secret}).encode())
    yield {"GET /token": given, ".": saying(401, f"{secret} is no token", **challenge)}, 5


def test_row_53_secrets_are_in_nothing_that_was_written(setting: Setting, tmp_path: Path) -> None:
    planted = {
        "variable": "plant-variable-9d1f",
        "remote": "plant-remote-77ab",
        "source": "plant-source-31c0",
        "answer": "plant-answer-52e8",
        "arg": "plant-arg-0b6c",
    }
    hosts = dict(setting.release.hosts)
    source = f'source = "https://me:{planted["source"]}@git.example/x"\n'
    release = make_release(
        tmp_path / "work/repo", hosts, setting.servers, config=source, gates=["size"]
    )
    git(release.root, "remote", "add", "origin", f"https://me:{planted['remote']}@git.example/x")
    release.env |= {
        "SOME_TOKEN": planted["variable"],
        "https_proxy": f"http://me:{planted['arg']}@127.0.0.1:1",
        "no_proxy": "*",
        "COSIGN_PASSWORD": release.env["COSIGN_PASSWORD"],
    }
    said = {"errors": [{"code": "DENIED", "message": f"token {PASSWORD} no good"}]}
    setting.proxy.plan[8] = Fault(status=403, body=json.dumps(said).encode())
    with pytest.raises(AuthorisationError) as caught:
        release.publish(PLAIN)
    assert PASSWORD not in str(caught.value)
    setting.proxy.plan.clear()
    for faults, code in _indiscreet(setting.proxy, planted["answer"]):
        setting.proxy.always.update(faults)
        debugged = release.invoke("docker-publish", "--resume", "--json", BUILDLIB_DEBUG="1")
        assert debugged.returncode == 1, debugged.stderr
        told = release.invoke("docker-publish", "--resume")
        assert told.returncode == code, told.stderr
        kept = (release.root / "dist/receipt.json").read_text(encoding="utf-8")
        assert '"finished": false' in kept
        assert planted["answer"] not in kept
        setting.proxy.always.clear()
    text = release.publish(PLAIN._replace(resume=True))
    done = release.invoke("docker-publish", "--resume", "--json", BUILDLIB_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert "1.2.3" in text
    key = (release.root.parent / "cosign.key").read_text(encoding="utf-8").splitlines()[1]
    wanted = [*planted.values(), PASSWORD, release.env["COSIGN_PASSWORD"], key]
    written = "".join(release.printed)
    assert not [secret for secret in wanted if secret in written]
    folders = [release.root / "dist", *(server.root for server in setting.servers)]
    number = 0
    for path, data in _everything_readable(*folders):
        number += 1
        assert not [secret for secret in wanted if secret.encode() in data], path
        # Nor where this machine keeps the project.
        if path.suffix != ".tar":
            assert str(tmp_path).encode() not in data, path
    assert number > 20
