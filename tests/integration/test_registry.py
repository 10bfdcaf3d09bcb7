"""The client against real registries, and a network that fails in every way it can."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import IO

import pytest
from ociwriter import MANIFEST, OciWriter
from registries import KNOWN, PASSWORD, Fault, Proxy, Server, fault_proxy, free_port, registry

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    GateError,
    InputError,
    TransientError,
)
from buildlib.image.archive import Archive, open_archive
from buildlib.registry.credentials import Credentials
from buildlib.registry.repository import Document, Repository
from buildlib.registry.tags import put_tag
from buildlib.registry.transfer import Pushed, push_archive
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

pytestmark = pytest.mark.release
QUICK = Patience(attempts=3, base=0.01, ceiling=0.05, timeout=2.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with fault_proxy(server.port) as found:
        yield found


@pytest.fixture
def path() -> str:
    """Return a repository that nobody else has."""
    return f"team/thing-{secrets.token_hex(4)}"


def an_archive(folder: Path, seed: str, *arches: str) -> Path:
    writer = OciWriter()
    manifests = []
    for arch in arches or ("amd64", "arm64"):
        layers = [writer.layer({f"{seed}-{arch}": secrets.token_bytes(20_000)})]
        image = writer.image(layers, platform=("linux", arch))
        manifests.append(image)
    whole = writer.index(*manifests)
    return writer.write(folder / f"{seed}.oci.tar", whole)


@pytest.fixture
def small(tmp_path: Path, path: str) -> Iterator[Archive]:
    """Return an image with as few requests as possible: each one is broken in turn."""
    with open_archive(an_archive(tmp_path, path.rpartition("-")[2], "arm64")) as found:
        yield found


@pytest.fixture
def archive(tmp_path: Path, path: str) -> Iterator[Archive]:
    with open_archive(an_archive(tmp_path, path.rpartition("-")[2])) as found:
        yield found


def to(
    host: str,
    path: str,
    credentials: Credentials | None = KNOWN,
    *,
    patience: Patience = QUICK,
    env: Mapping[str, str] | None = None,
) -> Repository:
    return Repository(Transport(host, credentials, env=env or {}, patience=patience), path)


def test_a_push_by_digest_is_found_by_no_tag(server: Server, path: str, archive: Archive) -> None:
    repository = to(server.host, path)
    done = push_archive(archive, repository)
    assert done.digest == archive.top()
    assert (done.sent, done.there) == (4, 0)
    assert server.holds(done.digest)
    assert repository.tags() == ()
    found = repository.manifest(done.digest)
    assert found is not None
    assert found.data == archive.bytes_of(done.digest)


def test_what_is_there_already_is_not_sent_again(
    server: Server, proxy: Proxy, path: str, archive: Archive
) -> None:
    push_archive(archive, to(server.host, path))
    again = push_archive(archive, to(proxy.host, path))
    assert (again.sent, again.there, again.size) == (0, 4, 0)
    assert proxy.sent("POST") == []


def test_a_tag_is_read_back_and_a_second_time_is_nothing(
    server: Server, proxy: Proxy, path: str, archive: Archive
) -> None:
    repository = to(proxy.host, path)
    digest = push_archive(archive, repository).digest
    first = put_tag(repository, digest, "1.2.3", immutable=True)
    assert (first.before, first.moved) == ("", True)
    assert server.tags(path) == {"1.2.3": digest}
    puts = len(proxy.sent("PUT", "1.2.3"))
    again = put_tag(repository, digest, "1.2.3", immutable=True)
    assert (again.before, again.moved) == (digest, False)
    assert len(proxy.sent("PUT", "1.2.3")) == puts
    assert repository.tags() == ("1.2.3",)


def test_a_version_never_becomes_another_image(
    server: Server, path: str, archive: Archive, tmp_path: Path
) -> None:
    repository = to(server.host, path)
    digest = push_archive(archive, repository).digest
    put_tag(repository, digest, "1.2.3", immutable=True)
    put_tag(repository, digest, "latest", immutable=False)
    with open_archive(an_archive(tmp_path, "other")) as other:
        second = push_archive(other, repository).digest
    with pytest.raises(GateError, match=r"1\.2\.3 already exists with a different") as caught:
        put_tag(repository, second, "1.2.3", immutable=True)
    assert caught.value.exit_code == 7
    assert put_tag(repository, second, "latest", immutable=False).before == digest
    assert server.tags(path) == {"1.2.3": digest, "latest": second}


def test_a_tag_needs_an_image(server: Server, path: str) -> None:
    with pytest.raises(InputError, match="push it first"):
        put_tag(to(server.host, path), "sha256:" + "0" * 64, "latest", immutable=False)


def test_a_damaged_archive_is_not_pushed(server: Server, path: str, tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([writer.layer({"a": b"a"})])
    wrong = {"mediaType": MANIFEST, "digest": "sha256:" + "1" * 64, "size": 3}
    writer._blobs[str(wrong["digest"])] = json.dumps({"manifests": [image]}).encode()
    written = writer.write(tmp_path / "x.tar", wrong)
    with open_archive(written) as archive, pytest.raises(InputError, match="damaged"):
        push_archive(archive, to(server.host, path))
    assert to(server.host, path).tags() == ()


def test_tags_come_page_by_page(proxy: Proxy, path: str) -> None:
    # Debian's registry gives all at once, so the pages are the proxy's.
    onward = {"Link": f'</v2/{path}/tags/list?n=2&last=b>; rel="next"'}
    proxy.always["n=2$"] = Fault(status=200, headers=onward, body=b'{"tags": ["a", "b"]}')
    proxy.always["last=b$"] = Fault(status=200, body=b'{"tags": ["c"]}')
    assert to(proxy.host, path).tags(page=2) == ("a", "b", "c")


def test_nobody_may_push_without_credentials(server: Server, path: str) -> None:
    with pytest.raises(AuthorisationError, match="and none were found") as caught:
        to(server.host, path, None).check_writable()
    assert caught.value.exit_code == 5
    assert f"docker login {server.host}" in str(caught.value)


def test_a_wrong_password_is_refused_and_told_nowhere(proxy: Proxy, path: str) -> None:
    wrong = replace(KNOWN, secret=secrets.token_hex(8))
    with pytest.raises(AuthorisationError) as caught:
        to(proxy.host, path, wrong).check_writable()
    assert "from the test" in str(caught.value)
    assert wrong.secret not in str(caught.value)
    assert wrong.secret not in repr(wrong)
    # Once without, once with: a refusal is not asked for again.
    assert len(proxy.seen) == 2


def test_whether_it_may_be_written_is_asked_without_a_trace(proxy: Proxy, path: str) -> None:
    repository = to(proxy.host, path)
    repository.check_writable()
    method, _, address = proxy.seen[-1].partition(" ")
    assert method == "DELETE"
    # The registry has forgotten the upload.
    repository.transport.call("GET", address, scope="", expect=frozenset({404}))
    assert repository.tags() == ()


BROKEN = [
    pytest.param(Fault(status=429, headers={"Retry-After": "0"}), id="429"),
    pytest.param(Fault(status=500), id="500"),
    pytest.param(Fault(status=502, body=b"<html>bad gateway</html>"), id="502"),
    pytest.param(Fault(status=503), id="503"),
    pytest.param(Fault(reset=True), id="a reset before the registry was reached"),
    pytest.param(Fault(reset=True, done=True), id="a reset after the registry has done it"),
    pytest.param(Fault(cut=0), id="cut at the first byte"),
    pytest.param(Fault(cut=100), id="cut at byte 100"),
    pytest.param(Fault(cut=10_000), id="cut in the middle of a layer"),
    pytest.param(Fault(stall=3.0, reset=True), id="a stall"),
]


def _everything(archive: Archive, repository: Repository) -> Pushed:
    repository.check_writable()
    done = push_archive(archive, repository)
    put_tag(repository, done.digest, "1.2.3", immutable=True)
    assert repository.tags() == ("1.2.3",)
    return done


def _requests(archive: Archive, server: Server, path: str) -> int:
    with fault_proxy(server.port) as proxy:
        _everything(archive, to(proxy.host, path))
        return len(proxy.seen)


@pytest.mark.parametrize("fault", BROKEN)
def test_one_fault_at_any_request_is_survived(
    server: Server, small: Archive, path: str, fault: Fault
) -> None:
    """Each request meets three of them; all that it can meet are among the faults of publishing."""
    total = _requests(small, server, path)
    assert total > 15
    turn = [param.values[0] for param in BROKEN].index(fault)
    # A stall costs its time each time.
    for number in range(turn % 3, total, 6 if fault.stall else 3):
        fresh = f"{path}-{number}"
        with fault_proxy(server.port) as proxy:
            proxy.plan[number] = fault
            repository = to(proxy.host, fresh)
            done = _everything(small, repository)
            assert server.tags(fresh) == {"1.2.3": done.digest}, number
            sent = proxy.sent("PUT", "digest=")
            # One upload for each blob, and at most one more: that which broke off.
            assert len(sent) <= 3, number


@pytest.mark.parametrize("fault", [BROKEN[n] for n in (0, 1, 4, 7)])
def test_a_fault_that_stays_ends_with_six_and_no_tag(
    server: Server, archive: Archive, path: str, fault: Fault
) -> None:
    with fault_proxy(server.port) as proxy:
        proxy.always["PUT"] = fault
        repository = to(proxy.host, path)
        with pytest.raises(TransientError) as caught:
            _everything(archive, repository)
        assert caught.value.exit_code == 6
        assert "3 attempts" in str(caught.value)
        assert len(proxy.sent("PUT")) == 3
        assert repository.transport.tally.retries == 2
    assert server.tags(path) == {}
    # And the next run finishes.
    assert _everything(archive, to(server.host, path)).sent == 4


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, EngineError), (401, AuthorisationError), (403, AuthorisationError), (404, EngineError)],
)
def test_what_will_not_get_better_is_not_tried_again(
    server: Server, archive: Archive, path: str, status: int, kind: type[BuildlibError]
) -> None:
    with fault_proxy(server.port) as proxy:
        said = {"errors": [{"code": "DENIED", "message": f"no, {PASSWORD}\nno"}]}
        proxy.always["POST"] = Fault(status=status, body=json.dumps(said).encode())
        with pytest.raises(kind) as caught:
            push_archive(archive, to(proxy.host, path))
        assert len(proxy.sent("POST")) == 1
        assert f"{status} DENIED: no, *** no" in str(caught.value)
        assert PASSWORD not in str(caught.value)
    assert server.tags(path) == {}


def _waits(proxy: Proxy, path: str, header: str, patience: Patience) -> list[float]:
    waits: list[float] = []
    proxy.plan[0] = Fault(status=429, headers={"Retry-After": header})
    transport = Transport(
        proxy.host, KNOWN, patience=patience, sleep=waits.append, chance=lambda: 1.0
    )
    Repository(transport, path).tags()
    assert transport.tally.waited == sum(waits)
    return waits


def test_the_registry_says_how_long_to_wait(proxy: Proxy, path: str) -> None:
    patience = Patience(attempts=3, base=0.5, ceiling=30.0)
    assert _waits(proxy, path, "7", patience) == [7.0]


def test_but_not_longer_than_the_ceiling(proxy: Proxy, path: str) -> None:
    patience = Patience(attempts=3, base=0.5, ceiling=30.0)
    assert _waits(proxy, path, "86400", patience) == [30.0]


def test_a_date_is_understood_as_well(proxy: Proxy, path: str) -> None:
    patience = Patience(attempts=3, base=0.5, ceiling=300.0)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert _waits(proxy, path, later, patience)[0] == pytest.approx(100, abs=5)


def test_nonsense_is_no_reason_not_to_wait(proxy: Proxy, path: str) -> None:
    patience = Patience(attempts=3, base=0.5, ceiling=30.0)
    assert _waits(proxy, path, "soon", patience) == [0.5]


def test_waits_grow_and_spread(proxy: Proxy, path: str) -> None:
    waits: list[float] = []
    proxy.always["GET"] = Fault(status=503)
    patience = Patience(attempts=5, base=1.0, ceiling=3.0)
    transport = Transport(
        proxy.host, KNOWN, patience=patience, sleep=waits.append, chance=lambda: 0.5
    )
    with pytest.raises(TransientError):
        Repository(transport, path).tags()
    assert waits == [0.5, 1.0, 1.5, 1.5]


def test_a_host_that_is_not_there_is_told(path: str) -> None:
    for host in (f"127.0.0.1:{free_port()}", "no-such-host.invalid"):
        with pytest.raises(TransientError) as caught:
            to(host, path).check_writable()
        assert host in str(caught.value)
        assert not re.search(r"[a-z]Error|\(host=", str(caught.value))
        assert ("DNS" in caught.value.hint) == host.endswith(".invalid")


def test_a_registry_that_answers_another_image_is_found_out(
    server: Server, proxy: Proxy, path: str, archive: Archive
) -> None:
    proxy.always["GET .*/manifests/sha256"] = Fault(status=200, body=b'{"manifests": []}')
    with pytest.raises(GateError, match="has another digest") as caught:
        push_archive(archive, to(proxy.host, path))
    assert caught.value.exit_code == 7
    assert server.tags(path) == {}


def test_a_tag_that_somebody_else_moved_meanwhile_is_found_out(
    proxy: Proxy, path: str, archive: Archive
) -> None:
    repository = to(proxy.host, path)
    digest = push_archive(archive, repository).digest
    put_tag(repository, digest, "latest", immutable=False)
    proxy.always["GET .*/manifests/1.2.3"] = Fault(status=200, body=b"{}")
    with pytest.raises(GateError, match=r"holds another image under 1\.2\.3"):
        put_tag(repository, digest, "1.2.3", immutable=False)


class _BadDisk(io.BytesIO):
    """A file that can be read up to a point."""

    def __init__(self, data: bytes, whole: int) -> None:
        super().__init__(data)
        self._whole = whole

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= self._whole:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def _cut_off() -> IO[bytes]:
    raise tarfile.ReadError("unexpected end of data")


@pytest.mark.parametrize("how", ["while it is opened", "at the first byte", "in the middle"])
def test_what_can_not_be_read_here_is_not_the_registrys_fault(
    proxy: Proxy, path: str, how: str
) -> None:
    data = secrets.token_bytes(50_000)
    blob = Document(data, "")
    opens = {
        "while it is opened": _cut_off,
        "at the first byte": lambda: _BadDisk(data, 0),
        "in the middle": lambda: _BadDisk(data, 20_000),
    }
    repository = to(proxy.host, path)
    with pytest.raises(InputError, match="can't be read") as caught:
        repository.put_blob(blob.digest, len(data), opens[how])
    assert caught.value.exit_code == 2
    assert repository.transport.tally.retries == 0
    assert len(proxy.sent("PUT")) <= 1
    # Nothing of it is left in the connections.
    repository.put_blob(blob.digest, len(data), lambda: io.BytesIO(data))
    assert repository.has_blob(blob.digest)
