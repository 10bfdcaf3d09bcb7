"""Signing in by token, as the large registries want it; and the way through a proxy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from registries import serving

from buildlib.errors import AuthorisationError, EngineError, TransientError
from buildlib.registry.credentials import Credentials
from buildlib.registry.repository import Repository
from buildlib.registry.transport import Transport
from buildlib.retry import Patience

QUICK = Patience(attempts=3, base=0.01, ceiling=0.05, timeout=2.0)
KNOWN = Credentials(username="ann", secret="pass", source="the test")


class Hub(ThreadingHTTPServer):
    """Gives tokens, and wants one; `asked` is what the token service was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.valid: set[str] = set()
        self.failing = 0
        self.later = ""
        self.refusal = ""
        self.elsewhere = self.moved = ""
        self.challenge = 'Bearer realm="REALM",service="hub",scope="repository:team/thing:pull"'
        self.paths: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def realm(self) -> str:
        return self.elsewhere or f"http://{self.host}/token"

    def give(self, query: str, authorisation: str) -> tuple[int, object]:
        self.asked.append(parse_qs(query))
        if self.failing:
            self.failing -= 1
            return 503, {}
        basic = "Basic " + base64.b64encode(b"ann:pass").decode()
        if authorisation not in {"", basic} or "refresh_token=wrong" in query:
            return 401, {}
        token = f"token-{len(self.asked)}"
        self.valid.add(token)
        return 200, {"access_token" if "refresh_token" in query else "token": token}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _say(self, status: int, body: object, **headers: str) -> None:
        data = json.dumps(body).encode()
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        hub = self.server
        assert isinstance(hub, Hub)
        hub.paths.append(self.path)
        path, _, query = self.path.partition("?")
        authorisation = self.headers.get("Authorization", "")
        if urlsplit(path).path == "/token":
            if hub.moved:
                self._say(307, {}, Location=hub.moved)
                return
            if self.command == "POST":
                query = self.rfile.read(int(self.headers["Content-Length"])).decode()
            later = {"Retry-After": hub.later} if hub.later and hub.failing else {}
            status, given = hub.give(query, authorisation)
            self._say(status, given, **later)
        elif hub.refusal and authorisation.removeprefix("Bearer ") in hub.valid:
            said = hub.refusal.replace("TOKEN", authorisation.removeprefix("Bearer "))
            self._say(403, {"errors": [{"code": "DENIED", "message": said}]})
        elif authorisation.removeprefix("Bearer ") in hub.valid:
            self._say(200, {"tags": ["1.2.3"]})
        else:
            challenge = hub.challenge.replace("REALM", hub.realm)
            self._say(401, {}, **{"WWW-Authenticate": challenge})

    do_POST = do_GET


@pytest.fixture
def hub() -> Iterator[Hub]:
    found = Hub()
    with serving(found):
        yield found


def _tags(hub: Hub, credentials: Credentials | None, **env: str) -> tuple[str, ...]:
    transport = Transport(hub.host, credentials, env=env, patience=QUICK)
    return Repository(transport, "team/thing").tags()


def test_a_password_is_changed_for_a_token_of_just_that_scope(hub: Hub) -> None:
    repository = Repository(Transport(hub.host, KNOWN, patience=QUICK), "team/thing")
    assert repository.tags() == ("1.2.3",)
    assert hub.asked == [{"service": ["hub"], "scope": ["repository:team/thing:pull"]}]
    # It is good for the next request.
    assert repository.tags() == ("1.2.3",)
    assert len(hub.asked) == 1


def test_a_token_that_has_run_out_is_changed_for_a_new_one(hub: Hub) -> None:
    repository = Repository(Transport(hub.host, KNOWN, patience=QUICK), "team/thing")
    repository.tags()
    hub.valid.clear()
    assert repository.tags() == ("1.2.3",)
    assert len(hub.asked) == 2


def test_what_everybody_may_read_needs_a_token_as_well(hub: Hub) -> None:
    assert _tags(hub, None) == ("1.2.3",)


@pytest.mark.parametrize(
    "challenge",
    [
        pytest.param("Bearer realm=REALM,service=hub", id="without quotes"),
        pytest.param('bearer Realm="REALM" , SERVICE="hub"', id="in other letters"),
        pytest.param('Basic realm="x", Bearer realm="REALM",service="hub"', id="the second one"),
        pytest.param('Bearer realm="REALM",service="hub", Basic realm="x"', id="the first one"),
        pytest.param('Negotiate, Bearer realm="REALM",service="hub"', id="after an unknown one"),
        pytest.param(
            'Bearer error="a, \\"b\\"",realm="REALM",service="hub"', id="after what looks like one"
        ),
    ],
)
def test_a_challenge_is_read_in_every_form(hub: Hub, challenge: str) -> None:
    hub.challenge = challenge
    assert _tags(hub, KNOWN) == ("1.2.3",)
    assert hub.asked == [{"service": ["hub"], "scope": ["repository:team/thing:pull"]}]


@pytest.mark.parametrize(
    ("offered", "asked"),
    [
        ("", []),
        ("repository:team/thing:pull", []),
        ("repository:mirror/team/thing:pull", ["repository:mirror/team/thing:pull"]),
        ("repository:team/thing:pull,push", ["repository:team/thing:pull,push"]),
        ("repository:team/thing:pull registry:catalog:*", ["registry:catalog:*"]),
        ("anything", ["anything"]),
    ],
)
@pytest.mark.parametrize("known", ["a password", "a token"])
def test_the_token_is_for_what_the_registry_names_as_well(
    hub: Hub, offered: str, asked: list[str], known: str
) -> None:
    hub.challenge = f'Bearer realm="REALM",service="hub",scope="{offered}"'
    token = Credentials(username="", secret="t0k", source="the test")
    assert _tags(hub, KNOWN if known == "a password" else token) == ("1.2.3",)
    scopes = ["repository:team/thing:pull", *asked]
    assert hub.asked[0]["scope"] == (scopes if known == "a password" else [" ".join(scopes)])


def test_a_refresh_token_goes_to_no_other_address(hub: Hub) -> None:
    other = Hub()
    with serving(other):
        hub.moved = f"http://{other.host}/token"
        token = Credentials(username="", secret="t0k", source="the test")
        with pytest.raises(AuthorisationError):
            _tags(hub, token)
    assert other.paths == []


def test_a_token_service_may_have_a_query_of_its_own(hub: Hub) -> None:
    hub.elsewhere = f"http://{hub.host}/token?account=ann"
    assert _tags(hub, KNOWN) == ("1.2.3",)
    scope = ["repository:team/thing:pull"]
    assert hub.asked == [{"account": ["ann"], "service": ["hub"], "scope": scope}]


def test_an_identity_token_is_sent_in_the_body(hub: Hub) -> None:
    token = Credentials(username="", secret="t0k", source="the test")
    assert _tags(hub, token) == ("1.2.3",)
    assert hub.asked[0]["refresh_token"] == ["t0k"]
    assert hub.asked[0]["grant_type"] == ["refresh_token"]
    assert not [path for path in hub.paths if "t0k" in path]


@pytest.mark.parametrize(("user", "secret"), [("ann", "wrong"), ("", "wrong")])
def test_what_the_token_service_refuses_is_refused(hub: Hub, user: str, secret: str) -> None:
    with pytest.raises(AuthorisationError, match="refuses the credentials"):
        _tags(hub, Credentials(username=user, secret=secret, source="the test"))


def test_a_token_service_that_fails_for_now_is_asked_again(hub: Hub) -> None:
    hub.failing = 2
    assert _tags(hub, KNOWN) == ("1.2.3",)


def test_the_token_service_says_how_long_to_wait(hub: Hub) -> None:
    hub.failing, hub.later = 2, "7"
    waits: list[float] = []
    patience = Patience(attempts=3, base=0.5, ceiling=30.0)
    transport = Transport(
        hub.host, KNOWN, patience=patience, sleep=waits.append, chance=lambda: 1.0
    )
    assert Repository(transport, "team/thing").tags() == ("1.2.3",)
    assert waits == [7.0, 7.0]


def test_what_is_refused_is_told_without_what_opens_anything(hub: Hub) -> None:
    hub.refusal = "no TOKEN, pass, https://me:plant@git.example/x or https://s3.example/y?key=plant"
    with pytest.raises(AuthorisationError) as caught:
        _tags(hub, KNOWN)
    said = "no ***, ***, https://***@git.example/x or https://s3.example/y?***"
    assert f"403 DENIED: {said}" in str(caught.value)


def test_a_token_is_told_by_nobody_after_its_time_either(hub: Hub) -> None:
    transport = Transport(hub.host, KNOWN, patience=QUICK)
    repository = Repository(transport, "team/thing")
    repository.tags()
    hub.valid.clear()
    hub.refusal = "token-1 has run out"
    with pytest.raises(AuthorisationError, match=r"DENIED: \*\*\* has run out"):
        repository.tags()


def test_but_not_for_ever(hub: Hub) -> None:
    hub.failing = 99
    with pytest.raises(TransientError, match="token service answers 503"):
        _tags(hub, KNOWN)


def test_a_password_is_not_sent_without_encryption(hub: Hub) -> None:
    hub.elsewhere = "http://tokens.example/token"
    with pytest.raises(AuthorisationError, match="without encryption"):
        _tags(hub, KNOWN)


@pytest.mark.parametrize(
    "realm",
    [
        "http://tokens.example\\\\@127.0.0.1/token",
        "http://ann@127.0.0.1/token",
        "http:/127.0.0.1/token",
    ],
)
def test_a_password_goes_to_no_address_that_can_be_read_in_two_ways(hub: Hub, realm: str) -> None:
    hub.elsewhere = realm
    with pytest.raises(EngineError, match="an invalid address"):
        _tags(hub, KNOWN)


def test_a_registry_of_this_machine_is_asked_without_the_proxy(hub: Hub) -> None:
    assert _tags(hub, KNOWN, http_proxy="http://127.0.0.1:1") == ("1.2.3",)


def test_another_registry_is_asked_through_the_proxy_that_learns_no_password() -> None:
    proxy = Hub()
    with serving(proxy):
        env = {"HTTPS_PROXY": f"http://ann:secret@{proxy.host}"}
        transport = Transport("registry.example", KNOWN, env=env, patience=QUICK)
        with pytest.raises(TransientError) as caught:
            Repository(transport, "team/thing").tags()
        assert "secret" not in str(caught.value)
        spared = Transport(
            "registry.invalid", KNOWN, env={**env, "NO_PROXY": ".invalid"}, patience=QUICK
        )
        with pytest.raises(TransientError, match="resolve"):
            Repository(spared, "team/thing").tags()
