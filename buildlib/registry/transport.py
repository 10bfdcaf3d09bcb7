"""Requests to one registry: signing in, waiting and trying again, and errors told apart.

Source: OCI distribution-spec 1.1; distribution's token authentication,
distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NotRequired, Protocol, TypedDict, TypeVar, Unpack
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.util.ssl_match_hostname import CertificateError

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
    TransientError,
)
from buildlib.registry.address import follow, is_loopback, is_private, make_pool
from buildlib.registry.answer import Answer, clean, on_one_line
from buildlib.registry.credentials import HUB, Credentials

# Docker Hub's interface is not where its name points to.
_HUB_HOST: Final = "registry-1.docker.io"
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_FAILED: Final = 400
_AGENT: Final = "buildlib"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long what may work later is tried.

    Args:
        attempts: of one request, the first one included.
        base: seconds before the second attempt at most; each next wait may be twice as long.
        ceiling: seconds that one wait may take, whatever the registry asks for.
        timeout: seconds without a byte until a connection counts as dead.
    """

    attempts: int = 6
    base: float = 0.5
    ceiling: float = 60.0
    timeout: float = 60.0


@dataclass
class Tally:
    """What was needed beyond the requests themselves."""

    retries: int = 0
    waited: float = 0.0


class Readable(Protocol):
    """What is read as it is sent; what it raises that is no OSError comes through."""

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes at most."""


Body = Callable[[], "bytes | Readable"]
T = TypeVar("T")


class Options(TypedDict):
    """What belongs to a request.

    Args:
        scope: what for, as the token specification has it.
        expect: codes that are answers; every other one is an error.
        headers: beside those of the authorisation.
        body: returns what is sent, anew for each attempt.
    """

    scope: str
    expect: frozenset[int]
    headers: NotRequired[Mapping[str, str]]
    body: NotRequired[Body]


class LaterError(TransientError):
    """It may work later; `wait` is the seconds that the registry asks for."""

    wait: float = 0.0


@dataclass
class Transport:
    """The way to one registry.

    Args:
        host: as a reference names it.
        credentials: or None, for one that everybody may read.
        env: for the proxy's address.
        patience: how long what may work later is tried.
        refused: why nothing can be asked, which is raised instead; None: it can.
        sleep, clock: of this machine.
        chance: spreads the waits; between 0 and 1.
    """

    host: str
    credentials: Credentials | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    refused: BuildlibError | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        """Open nothing yet."""
        scheme = "http" if is_loopback(self.host) else "https"
        self._root = f"{scheme}://{_HUB_HOST if self.host == HUB else self.host}"
        self._pool = make_pool(self.host, scheme, self.env, self.patience.timeout)
        self._tokens: dict[str, str] = {}
        # What is in no message, even if it is too old by then.
        self._secrets: set[str] = set()
        if self.credentials:
            self._secrets |= {self.credentials.secret, self.credentials.basic}
        self._basic = False
        self._writes = False

    def close(self) -> None:
        """Let go of the connections."""
        self._pool.clear()

    def persist(self, once: Callable[[], T]) -> T:
        """Do something until it works, as long as what it raises may pass.

        Args:
            once: makes its requests with `ask`.

        Raises:
            TransientError: the attempts are used up (exit 6).
            BuildlibError: everything else that `once` raises.
        """
        for attempt in range(self.patience.attempts - 1):
            try:
                return once()
            except LaterError as problem:
                self.pause(attempt, problem)
        return once()

    def call(self, method: str, path: str, **options: Unpack[Options]) -> Answer:
        """Do one request until it is answered; arguments and errors are those of `ask`."""
        return self.persist(lambda: self.ask(method, path, **options))

    def ask(self, method: str, path: str, **options: Unpack[Options]) -> Answer:
        """Do one request, signing in where that is wanted.

        Args:
            method: of HTTP.
            path: from the registry's root, or a whole address that the registry gave.
            options: see `Options`.

        Raises:
            AuthorisationError: refused (exit 5).
            TransientError: it may work later (exit 6).
            EngineError: the registry says that the request is wrong (exit 4).
            InputError: its certificate is not trusted (exit 2).
        """
        if self.refused:
            raise self.refused
        headers = dict(options.get("headers", {}))
        self._writes |= method not in {"GET", "HEAD"}
        try:
            answer = self._signed_in(method, path, options["scope"], headers, options.get("body"))
        except LocationValueError:
            # Not what it said: an address may hold a secret, and this one can't be searched for it.
            raise EngineError(f"{self.host} names an address that is none") from None
        except (HTTPError, OSError) as error:
            raise self._unreachable(method, error) from None
        if answer.status in options["expect"]:
            return answer
        raise self._problem(method, answer)

    def pause(self, attempt: int, problem: LaterError) -> None:
        """Wait after a failed attempt, the first of which is 0, and count it.

        A caller that has to look again before it repeats a request makes its own loop of this.
        """
        self.tally.retries += 1
        # "Full jitter": many clients that failed together do not come back together.
        longest = min(self.patience.ceiling, self.patience.base * 2**attempt)
        seconds = min(self.patience.ceiling, max(problem.wait, longest * self.chance()))
        self.tally.waited += seconds
        self.sleep(seconds)

    def _signed_in(
        self, method: str, path: str, scope: str, headers: dict[str, str], body: Body | None
    ) -> Answer:
        url, ours = follow(self._root, path)
        if not ours:
            # Where a registry keeps its blobs, for example: that is nobody to sign in to.
            return self._sent_elsewhere(method, url, headers, body)
        answer = self._send(method, url, headers | self._authorisation(scope), body)
        if answer.status != _UNAUTHORISED:
            return answer
        # A token that is too old counts as none.
        self._tokens.pop(scope, None)
        if not self._sign_in(answer, scope):
            return answer
        return self._send(method, url, headers | self._authorisation(scope), body)

    def _sent_elsewhere(
        self, method: str, url: str, headers: dict[str, str], body: Body | None
    ) -> Answer:
        answer = self._send(method, url, headers, body)
        if answer.status == _UNAUTHORISED:
            parts = urlsplit(url)
            raise AuthorisationError(
                f"{self.host} sends {method} to {parts.scheme}://{parts.hostname}, "
                "which wants credentials",
                why="they are for the registry alone, and were not sent",
                hint="whoever runs the registry has to give it its own address",
            )
        return answer

    def _authorisation(self, scope: str) -> dict[str, str]:
        if token := self._tokens.get(scope):
            return {"Authorization": f"Bearer {token}"}
        if self._basic and self.credentials:
            return {"Authorization": f"Basic {self.credentials.basic}"}
        return {}

    def _sign_in(self, answer: Answer, scope: str) -> bool:
        """Return whether there is something to sign in with that was not tried yet."""
        scheme, parameters = answer.challenge
        if scheme == "basic":
            fresh = not self._basic and bool(self.credentials and self.credentials.username)
            self._basic = fresh or self._basic
            return fresh
        if scheme != "bearer" or "realm" not in parameters:
            return False
        token = self._fetch_token(parameters, scope)
        if token:
            self._tokens[scope] = token
            self._secrets.add(token)
        return bool(token)

    def _fetch_token(self, parameters: Mapping[str, str], scope: str) -> str:
        realm = parameters["realm"]
        if not is_private(realm):
            raise AuthorisationError(
                f"{self.host} wants the password sent without encryption", why="it was not sent"
            )
        query = {"service": parameters.get("service", ""), "scope": scope}
        known = self.credentials
        if known and known.identity_token:
            form = urlencode(
                {
                    **query,
                    "grant_type": "refresh_token",
                    "refresh_token": known.identity_token,
                    "client_id": _AGENT,
                }
            )
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, kind, form.encode)
        else:
            headers = {"Authorization": f"Basic {known.basic}"} if known else {}
            answer = self._send("GET", f"{realm}?{urlencode(query)}", headers, None)
        if answer.status in _TRANSIENT:
            # As if the request itself had met it.
            raise self._later("a token", f"the token service answers {answer.status}", answer)
        return "" if answer.status >= _FAILED else answer.token

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> Answer:
        response = self._request(method, url, headers, body)
        return Answer(
            status=response.status,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.data,
        )

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        redirects: int = 5,
    ) -> urllib3.BaseHTTPResponse:
        response: urllib3.BaseHTTPResponse = self._pool.request(
            method,
            url,
            body=body() if body else None,
            headers={"User-Agent": _AGENT, **headers},
            redirect=False,
            retries=False,
        )
        if response.status not in _REDIRECTS or method not in {"GET", "HEAD"} or not redirects:
            return response
        onward, same = follow(url, response.headers.get("Location", ""))
        if onward == url:
            return response
        if not same:
            # Another host, such as the storage behind a registry, must not learn who we are.
            headers = {k: v for k, v in headers.items() if k.lower() != "authorization"}
        return self._request(method, onward, headers, body, redirects - 1)

    def safe(self, text: str) -> str:
        """Return words that may be the registry's, line by line, without what it was told."""
        return clean(text, self._secrets)

    def _line(self, text: str) -> str:
        return on_one_line(self.safe(text))

    def _problem(self, method: str, answer: Answer) -> BuildlibError:
        reason = self._line(answer.reason)
        if answer.status == _UNAUTHORISED:
            known = self.credentials
            what = "refuses the credentials" if known else "wants credentials, and there are none"
            return AuthorisationError(
                f"{self.host} {what}",
                why=f"{reason}{f', from {known.source}' if known else ''}",
                hint=f"docker login {self.host}",
            )
        if answer.status == _FORBIDDEN:
            return AuthorisationError(
                f"{self.host} does not allow it",
                why=reason,
                hint="see whether the account may write to this repository",
            )
        if answer.status in _TRANSIENT:
            return self._later(method, reason, answer)
        return EngineError(f"{self.host} refuses {method}", why=reason)

    def _unreachable(self, method: str, error: Exception) -> BuildlibError:
        why = f"{type(error).__name__}: {self._line(str(error))}"
        # What breaks off an encrypted connection is of the same class as what is wrong with it.
        if any(isinstance(one, (ssl.CertificateError, CertificateError)) for one in error.args):
            return InputError(f"the certificate of {self.host} is not trusted", why=why)
        return self._later(method, why)

    def _later(self, what: str, why: str, answer: Answer | None = None) -> LaterError:
        sent = "; what is there already is not sent again" if self._writes else ""
        later = LaterError(
            f"{self.host} did not answer {what} in {self.patience.attempts} attempts",
            why=why,
            hint=f"try again later{sent}",
        )
        later.wait = answer.asked_wait(self.clock()) if answer else 0.0
        return later
