"""Requests to one registry: signing in, retries, and errors by their cause.

Source: OCI distribution-spec 1.1; distribution's token authentication,
distribution.github.io/distribution/spec/auth/token.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from typing import Final, Unpack
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError, LocationValueError, NameResolutionError
from urllib3.util import Url
from urllib3.util.ssl_match_hostname import CertificateError

from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
)
from buildlib.files import counted
from buildlib.image.reference import HUB
from buildlib.registry.address import (
    Routes,
    add_query,
    follow,
    is_private,
    parse_address,
    same_server,
)
from buildlib.registry.connection import Deadline, until
from buildlib.registry.credentials import Credentials
from buildlib.registry.headers import Challenge
from buildlib.registry.limits import Limits
from buildlib.registry.loopback import is_loopback
from buildlib.registry.request import AGENT, DONE, Exchange, Options
from buildlib.registry.response import WHO_ANSWERS, Response, clean, on_one_line, reason_of
from buildlib.retry import LaterError, Retrier

# The API of Docker Hub is on another host.
_HUB_HOST: Final = "registry-1.docker.io"
# Of the hint after a request that was not answered.
LATER: Final = "try again later"
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED: Final = 401
_FORBIDDEN: Final = 403
_NOT_ALLOWED: Final = 405
# OpenSSL's reasons for an answer without encryption.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_HINTS: Final = {
    404: "check that the repository exists: some registries do not create it",
    413: "a proxy before the registry limits the size of requests",
}
# Seconds for a request that cleans up after an interrupt.
_HURRY: Final = 5.0
# Longer texts are left out, as cleaning takes the square of the length.
_LONGEST: Final = 8192


@dataclass
class Transport(Retrier):
    """Requests to one registry.

    Args:
        host: as a reference names it.
        credentials: None: anonymous.
        env: for the proxy's address.
        limits: for sizes and times.
        refused: raised instead of each request; None: requests are made.
        clock: of this machine.
    """

    host: str
    credentials: Credentials | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    refused: BuildlibError | None = None
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Open no connection yet."""
        scheme = "http" if is_loopback(self.host) else "https"
        try:
            self._root = parse_address(
                f"{scheme}://{_HUB_HOST if self.host == HUB else self.host}/"
            )
        except LocationValueError:
            raise InputError(f"{self.host} is not the address of a registry") from None
        self._routes = Routes(self.env, self.patience.timeout)
        self._exchange = Exchange(self.host, self._routes, self.limits)
        # An invalid proxy is reported before the first request.
        self._routes.manager(self._root)
        self._tokens: dict[str, str] = {}
        # Never part of a message, even if they have expired.
        self._secrets: set[str] = set()
        if self.credentials:
            self._secrets |= {self.credentials.secret, self.credentials.basic}
        self._basic = False
        self._writes = False

    def close(self) -> None:
        """Close the connections."""
        self._routes.close()

    def hurry(self) -> None:
        """Make each request only once from now on, with a short timeout, after an interrupt."""
        timeout, seconds = min(self.patience.timeout, _HURRY), min(self.limits.seconds, _HURRY)
        self.patience = replace(self.patience, attempts=1, timeout=timeout)
        self.limits = replace(self.limits, seconds=seconds)

    def call(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        """Make a request, with retries; arguments and errors are those of `ask`."""
        return self.persist(lambda: self.ask(method, path, **options))

    def ask(self, method: str, path: str, **options: Unpack[Options]) -> Response:
        """Make one request, and sign in if necessary.

        Args:
            path: from the registry's root, or an absolute address that the registry gave.
            options: see `Options`.

        Raises:
            AuthorisationError: refused (exit 5).
            TransientError: it may work later (exit 6).
            EngineError: the registry rejects the request (exit 4).
            InputError: its certificate is not trusted (exit 2).
        """
        if self.refused:
            raise self.refused
        self._writes |= method not in {"GET", "HEAD"}
        size = options.get("limit", self.limits.document)
        limits = replace(self.limits, seconds=options.get("seconds", self.limits.seconds))
        deadline = Deadline(self.host, method, limits, silence=self.patience.timeout, size=size)
        try:
            with until(deadline):
                answer = self._signed_in(method, path, options)
        except LocationValueError:
            # The address is not printed: it may hold a secret that can't be found in it.
            raise EngineError(
                f"{self.host} names an invalid address in its answer to {method}",
                why="it is malformed, has a user in it, or leads out of the encryption",
            ) from None
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise self._unreachable(method, path, error) from None
        if answer.status in options["expect"]:
            return answer
        raise self._problem(method, path, answer)

    def _signed_in(self, method: str, path: str, options: Options) -> Response:
        url = follow(self._root, path)
        answer = self._sent(method, url, options)
        if answer.status != _UNAUTHORISED:
            return answer
        # The token may have expired.
        self._tokens.pop(options["scope"], None)
        if not self._sign_in(answer, options["scope"]):
            return answer
        return self._sent(method, url, options)

    def _sent(self, method: str, url: Url, options: Options) -> Response:
        # Other servers, such as the storage of blobs, do not get the token.
        ours = same_server(url, self._root)
        secret = self._authorisation(options["scope"]) if ours else {}
        answer = self._exchange.send(method, url, secret, options)
        if answer.status == _UNAUTHORISED and not same_server(answer.url, self._root):
            raise AuthorisationError(
                f"{self.host} sends {method} to {answer.url.scheme}://{answer.url.host}, "
                "which wants credentials",
                why="they are only for the registry, and were not sent",
                hint="the registry's operator has to configure its own address",
            )
        return answer

    def _authorisation(self, scope: str) -> dict[str, str]:
        if token := self._tokens.get(scope):
            return {"Authorization": f"Bearer {token}"}
        if self._basic and self.credentials:
            return {"Authorization": f"Basic {self.credentials.basic}"}
        return {}

    def _sign_in(self, answer: Response, scope: str) -> bool:
        """Sign in as an answer demands; return whether the request can be repeated."""
        offered: dict[str, Challenge] = {}
        for challenge in answer.challenges:
            offered.setdefault(challenge.scheme, challenge)
        bearer = offered.get("bearer")
        if bearer and "realm" in bearer.parameters:
            token = self._fetch_token(bearer.parameters, scope)
            if token:
                self._tokens[scope] = token
                self._secrets.add(token)
            return bool(token)
        fresh = not self._basic and bool(self.credentials and self.credentials.username)
        fresh = fresh and "basic" in offered
        self._basic |= fresh
        return fresh

    def _fetch_token(self, parameters: Mapping[str, str], scope: str) -> str:
        realm = parse_address(parameters["realm"])
        if not is_private(realm):
            raise AuthorisationError(
                f"{self.host} wants the password sent without encryption", why="it was not sent"
            )
        # A registry may have another name for the repository: as docker does, the token is
        # requested for both.
        scopes = [scope, *_others(parameters.get("scope", ""), scope)]
        service = parameters.get("service", "")
        known = self.credentials
        options = Options(scope="", expect=frozenset(), limit=self.limits.token)
        if known and known.identity_token:
            answer = self._post_for_token(realm, service, scopes, options, known)
        else:
            query = urlencode([("service", service), *(("scope", one) for one in scopes)])
            headers = {"Authorization": f"Basic {known.basic}"} if known else {}
            answer = self._exchange.send("GET", add_query(realm, query), headers, options)
            if known and answer.status == _NOT_ALLOWED:
                answer = self._post_for_token(realm, service, scopes, options, known)
        if answer.status in _TRANSIENT:
            raise self._later("a token", f"the token service answers {answer.status}", answer)
        if answer.status >= DONE:
            reason = self._line(answer.reason)
            raise self._unauthorised(f"the token service {realm.netloc} answers {reason}")
        return answer.token

    def _post_for_token(
        self, realm: Url, service: str, scopes: Sequence[str], options: Options, known: Credentials
    ) -> Response:
        """Request a token by OAuth 2; distribution.github.io/distribution/spec/auth/oauth."""
        if known.identity_token:
            own = {"grant_type": "refresh_token", "refresh_token": known.identity_token}
        else:
            own = {"grant_type": "password", "username": known.username, "password": known.secret}
        # In a form, all scopes are one parameter.
        form = {"service": service, "scope": " ".join(scopes), "client_id": AGENT, **own}
        body = urlencode(form, errors="surrogateescape").encode
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        asked: Options = {**options, "headers": kind, "body": body, "stays": True}
        return self._exchange.send("POST", realm, {}, asked)

    def safe(self, text: str) -> str:
        """Return a text that may be the registry's, without secrets."""
        return clean(text, self._secrets)

    def _line(self, text: str) -> str:
        return on_one_line(self.safe(text)) if len(text) <= _LONGEST else "a very long text"

    def _problem(self, method: str, path: str, answer: Response) -> BuildlibError:
        reason = f"{self._described(method, path)}: {self._line(answer.reason)}"
        if answer.status == _UNAUTHORISED:
            return self._unauthorised(reason)
        if answer.status == _FORBIDDEN:
            right = "read" if method in {"GET", "HEAD"} else "write to"
            return AuthorisationError(
                f"{self.host} does not allow it",
                why=reason,
                hint=f"check that the account may {right} this repository",
            )
        if answer.status in _TRANSIENT:
            return self._later(method, reason, answer)
        hint = _HINTS.get(answer.status, WHO_ANSWERS)
        return EngineError(f"{self.host} refuses {method}", why=reason, hint=hint)

    def _unauthorised(self, reason: str) -> AuthorisationError:
        known = self.credentials
        what = "refuses the credentials" if known else "wants credentials, and none were found"
        return AuthorisationError(
            f"{self.host} {what}",
            why=f"{reason}{f', from {known.source}' if known else ''}",
            hint=f"docker login {self.host}",
        )

    def _described(self, method: str, path: str) -> str:
        """Return a request for messages, without its query, which may hold a secret."""
        try:
            return f"{method} {self._line(follow(self._root, path).path or '/')}"
        except LocationValueError:
            return method

    def _unreachable(self, method: str, path: str, error: Exception) -> BuildlibError:
        why = self._line(reason_of(error))
        # Errors of certificates have the same class as interrupted connections.
        if any(isinstance(one, (ssl.CertificateError, CertificateError)) for one in error.args):
            return InputError(
                f"the certificate of {self.host} is not trusted",
                why=why,
                hint="SSL_CERT_FILE names a file with the certificates of authorities that are",
            )
        if any(getattr(one, "reason", "") in _NO_TLS for one in error.args):
            return InputError(
                f"{self.host} answers without encryption",
                why=why,
                hint="only registries on this machine may be without: give it a certificate, or a "
                "proxy that has one",
            )
        later = self._later(method, f"{self._described(method, path)}: {why}")
        if any(isinstance(one, NameResolutionError) for one in (error, *error.args)):
            later.hint = "check the name, DNS, and whether a proxy is needed (HTTPS_PROXY)"
        return later

    def _later(self, what: str, why: str, answer: Response | None = None) -> LaterError:
        sent = "; what already exists is not sent again" if self._writes else ""
        later = LaterError(
            f"{self.host} did not answer {what} in {counted(self.patience.attempts, 'attempt')}",
            why=why,
            hint=f"{LATER}{sent}",
        )
        later.wait = answer.asked_wait(self.clock()) if answer else 0.0
        return later


def _others(offered: str, scope: str) -> list[str]:
    resource, _, actions = scope.rpartition(":")
    found = dict.fromkeys(offered.split())
    return [
        one
        for one in found
        if one.rpartition(":")[0] != resource
        or set(one.rpartition(":")[2].split(",")) - set(actions.split(","))
    ]
