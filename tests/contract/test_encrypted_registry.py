"""Who learns the credentials for a registry, and what a broken encrypted connection means."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from encrypted import HOST, Encrypted, encrypted_registry
from registries import Fault, fault_proxy

from buildlib.errors import AuthorisationError, EngineError, InputError, TransientError
from buildlib.registry.credentials import Credentials
from buildlib.registry.repository import Document, Repository
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

pytestmark = pytest.mark.unmeasured

QUICK = Patience(attempts=3, base=0.01, ceiling=0.05, timeout=5.0)
KNOWN = Credentials(username="ann", secret="pass", source="the test")
PATH = "/v2/team/thing"
UPLOADS = f"https://{HOST}{PATH}/blobs/uploads/"
BLOB = Document(b"content", "")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    with encrypted_registry(tmp_path_factory.mktemp("encrypted") / "authority") as found:
        yield found


@pytest.fixture
def server(running: Encrypted, monkeypatch: pytest.MonkeyPatch) -> Encrypted:
    monkeypatch.setenv("SSL_CERT_FILE", str(running.authority.certificate))
    running.answers.clear()
    running.seen.clear()
    running.breaks = running.cuts = 0
    running.challenge = "Basic realm=x"
    return running


def _repository(server: Encrypted, host: str = HOST) -> Repository:
    return Repository(Transport(host, KNOWN, env=server.env, patience=QUICK), "team/thing")


def _put(repository: Repository) -> None:
    repository.put_blob(BLOB.digest, len(BLOB.data), lambda: io.BytesIO(BLOB.data))


ELSEWHERE = ["https://node.test:8443/up"]
# On the way there anybody could read, and change, what is sent.
IN_CLEAR = ["http://evil.test/up", "http://node.test:8080/up", "http://127.0.0.1:5000/up"]
OURS = ["/up", "https://node.test/up", "https://node.test:443/up", "https://NODE.test/up"]
# What a registry says of itself that knows nothing of the encryption before it.
UNAWARE = ["http://node.test/up", "http://node.test:80/up", "http://node.test:443/up"]


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("do", [_put, Repository.check_writable], ids=["a push", "the preflight"])
def test_only_the_registry_itself_learns_who_we_are(
    server: Encrypted, do: Callable[[Repository], None], address: str
) -> None:
    server.answers[f"POST {UPLOADS}"] = (202, {"Location": address})
    do(_repository(server))
    last = server.seen[-1]
    assert last.address.partition("?")[0] == address
    assert last.authorisation == ""
    assert [one.authorisation[:6] for one in server.seen] == ["", "Basic ", ""]


@pytest.mark.parametrize("address", [*OURS, *UNAWARE])
@pytest.mark.parametrize("do", [_put, Repository.check_writable], ids=["a push", "the preflight"])
def test_the_registry_is_asked_with_encryption_whatever_it_calls_itself(
    server: Encrypted, do: Callable[[Repository], None], address: str
) -> None:
    server.answers[f"POST {UPLOADS}"] = (202, {"Location": address})
    do(_repository(server))
    last = server.seen[-1]
    assert last.address.partition("?")[0].removesuffix(":443") == f"https://{HOST}/up"
    assert last.authorisation == f"Basic {KNOWN.basic}"


@pytest.mark.parametrize("address", ELSEWHERE)
def test_who_wants_credentials_elsewhere_gets_none(server: Encrypted, address: str) -> None:
    server.answers[f"POST {UPLOADS}"] = (202, {"Location": address})
    challenge = {"WWW-Authenticate": "Basic realm=y"}
    put = f"PUT {address}?digest={BLOB.digest.replace(':', '%3A')}"
    server.answers |= dict.fromkeys((put, f"DELETE {address}"), (401, challenge))
    with pytest.raises(AuthorisationError, match="were not sent") as caught:
        _put(_repository(server))
    assert address.rpartition("/")[0].rpartition(":")[0] in str(caught.value)
    assert len(server.seen) == 3
    assert server.seen[-1].authorisation == ""
    # To call an upload off is a courtesy.
    _repository(server).check_writable()
    assert server.seen[-1].address == address
    assert server.seen[-1].authorisation == ""


@pytest.mark.parametrize("address", ELSEWHERE)
@pytest.mark.parametrize("how", ["a redirect", "the next page"])
def test_reading_leads_them_nowhere_else_either(server: Encrypted, address: str, how: str) -> None:
    first = f"GET https://{HOST}{PATH}/tags/list?n=1000"
    if how == "a redirect":
        server.answers[first] = (307, {"Location": address})
    else:
        server.answers[first] = (200, {"Link": f'<{address}>; rel="next"'})
    assert _repository(server).tags() == ()
    assert [one.address for one in server.seen][-1] == address
    assert server.seen[-1].authorisation == ""


@pytest.mark.parametrize("address", [*ELSEWHERE, *OURS])
@pytest.mark.parametrize("request_", ["POST", "PUT"])
def test_what_is_sent_follows_a_redirect_and_the_credentials_do_not(
    server: Encrypted, address: str, request_: str
) -> None:
    query = f"?digest={BLOB.digest.replace(':', '%3A')}"
    server.answers = {
        f"POST {UPLOADS}": (202, {"Location": "/first"}),
        f"PUT https://{HOST}/first{query}": (308, {"Location": address}),
    }
    if request_ == "POST":
        server.answers[f"POST {UPLOADS}"] = (307, {"Location": address})
        for one in (address, f"https://{HOST}/up"):
            server.answers[f"POST {one}"] = (202, {"Location": "/there"})
    _put(_repository(server))
    redirected = server.seen[-2 if request_ == "POST" else -1]
    assert redirected.method == request_
    known = "" if address in ELSEWHERE else f"Basic {KNOWN.basic}"
    assert redirected.authorisation == known


@pytest.mark.parametrize("address", IN_CLEAR)
@pytest.mark.parametrize(
    "how", ["a redirect", "the next page", "an upload", "an upload's redirect"]
)
def test_nothing_leads_out_of_the_encryption(server: Encrypted, how: str, address: str) -> None:
    first = f"GET https://{HOST}{PATH}/tags/list?n=1000"
    server.answers = {
        "a redirect": {first: (307, {"Location": address})},
        "the next page": {first: (200, {"Link": f'<{address}>; rel="next"'})},
        "an upload": {f"POST {UPLOADS}": (202, {"Location": address})},
        "an upload's redirect": {f"POST {UPLOADS}": (307, {"Location": address})},
    }[how]
    repository = _repository(server)
    with pytest.raises(EngineError, match="leads out of the encryption"):
        _put(repository) if "upload" in how else repository.tags()
    assert all(one.address.startswith("https://") for one in server.seen)


def test_a_token_service_of_this_machine_is_asked_without_the_proxy(server: Encrypted) -> None:
    with fault_proxy(0) as tokens:
        tokens.always["GET /token"] = Fault(status=200, body=b'{"token": "abc"}')
        server.challenge = f'Bearer realm="http://{tokens.host}/token",service="x"'
        assert _repository(server).tags() == ()
        assert len(tokens.sent("GET", "/token")) == 1
    assert {one.address.partition("/v2/")[0] for one in server.seen} == {f"https://{HOST}"}
    assert server.seen[-1].authorisation == "Bearer abc"


def test_credentials_wanted_where_a_redirect_leads_are_not_sent(server: Encrypted) -> None:
    (address,) = ELSEWHERE
    server.answers = {
        f"GET https://{HOST}{PATH}/tags/list?n=1000": (307, {"Location": address}),
        f"GET {address}": (401, {"WWW-Authenticate": 'Bearer realm="https://evil.test/token"'}),
    }
    with pytest.raises(AuthorisationError, match="were not sent"):
        _repository(server).tags()
    assert server.seen[-1].address == address
    assert server.seen[-1].authorisation == ""


@pytest.mark.parametrize("how", ["a redirect", "the next page"])
def test_a_way_without_encryption_on_the_same_host_is_not_taken(
    server: Encrypted, how: str
) -> None:
    first = f"GET https://{HOST}{PATH}/tags/list?n=1000"
    if how == "a redirect":
        server.answers[first] = (307, {"Location": f"http://{HOST}/there"})
    else:
        server.answers[first] = (200, {"Link": f'<http://{HOST}/there>; rel="next"'})
    assert _repository(server).tags() == ()
    assert server.seen[-1].address.endswith("/there")
    assert all(one.address.startswith("https://") for one in server.seen)


@pytest.mark.parametrize(
    "address",
    [
        "http://[plant",
        "https://plant:plant/x",
        "plant://x/",
        "https://plant@node.test/",
        "https://plant\\@node.test/",
        "https://node.test/a plant",
    ],
)
@pytest.mark.parametrize("how", ["a redirect", "the next page", "an upload"])
def test_what_is_no_address_is_told_without_it(server: Encrypted, how: str, address: str) -> None:
    first = f"GET https://{HOST}{PATH}/tags/list?n=1000"
    server.answers = {
        "a redirect": {first: (307, {"Location": address})},
        "the next page": {first: (200, {"Link": f'<{address}>; rel="next"'})},
        "an upload": {f"POST {UPLOADS}": (202, {"Location": address})},
    }[how]
    repository = _repository(server)
    with pytest.raises(EngineError, match="an invalid address") as caught:
        repository.check_writable() if how == "an upload" else repository.tags()
    assert "plant" not in str(caught.value)
    assert repository.transport.tally.retries == 0


def test_a_connection_that_breaks_while_encryption_is_agreed_on_is_tried_again(
    server: Encrypted,
) -> None:
    server.breaks = 2
    repository = _repository(server)
    assert repository.tags() == ()
    assert repository.transport.tally.retries == 2


def test_one_that_breaks_later_is_tried_again(server: Encrypted) -> None:
    server.cuts = 2
    repository = _repository(server)
    assert repository.tags() == ()
    assert repository.transport.tally.retries == 2


def test_one_that_stays_broken_ends_with_six(server: Encrypted) -> None:
    server.breaks = 99
    with pytest.raises(TransientError, match="3 attempts") as caught:
        _repository(server).tags()
    assert caught.value.exit_code == 6
    assert caught.value.hint == "try again later"


def test_who_sends_is_told_that_nothing_is_sent_twice(server: Encrypted) -> None:
    server.breaks = 99
    transport = _repository(server).transport
    with pytest.raises(TransientError) as caught:
        transport.call("POST", "/v2/x/blobs/uploads/", scope="", expect=frozenset({202}))
    assert caught.value.hint == "try again later; what already exists is not sent again"


@pytest.mark.parametrize("wrong", ["nobody signed it", "it is another's"])
def test_a_certificate_that_is_not_trusted_will_not_get_better(
    server: Encrypted, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    if wrong == "nobody signed it":
        monkeypatch.delenv("SSL_CERT_FILE")
    repository = _repository(server, HOST if wrong == "nobody signed it" else "other.test")
    with pytest.raises(InputError, match="is not trusted") as caught:
        repository.tags()
    assert caught.value.exit_code == 2
    assert repository.transport.tally.retries == 0
    assert server.seen == []


def test_a_registry_without_encryption_is_not_asked_again_and_again(server: Encrypted) -> None:
    with fault_proxy(0) as plain:
        server.registry_port, kept = plain.port, server.registry_port
        try:
            repository = _repository(server)
            with pytest.raises(InputError, match="answers without encryption") as caught:
                repository.tags()
        finally:
            server.registry_port = kept
    assert "only registries on this machine" in caught.value.hint
    assert repository.transport.tally.retries == 0
    assert plain.seen == []
