"""Who we are to a registry: from the environment, or from where docker keeps it.

Source: docker's config.json, "credHelpers", "credsStore" and "auths"; and the protocol of
github.com/docker/docker-credential-helpers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from buildlib.config.tables import Registry
from buildlib.docker.client_config import config_folder
from buildlib.errors import AuthorisationError, InputError, ToolError
from buildlib.executor import Executor
from buildlib.image.reference import HUB
from buildlib.tempfiles import passing_folder

_TIMEOUT: Final = 30.0
# By this name docker's own files know Docker Hub; others write one of its hosts.
_HUB_KEY: Final = "https://index.docker.io/v1/"
_HUB_HOSTS: Final = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
# What a helper says instead of a name where the secret is an identity token.
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a marker, no secret
_NOT_THERE: Final = "credentials not found"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A name with a password, or an identity token alone; no text of it shows a secret.

    Args:
        username: empty where there is only a token.
        secret: the password, or the token.
        source: where it was found, for people.
    """

    username: str
    secret: str = field(repr=False)
    source: str

    @property
    def identity_token(self) -> str:
        """Return the token, or nothing where it is a password."""
        return "" if self.username else self.secret

    @property
    def basic(self) -> str:
        """Return what `Authorization: Basic` takes."""
        # What a variable held that is no text goes out as it was.
        pair = f"{self.username}:{self.secret}".encode(errors="surrogateescape")
        return base64.b64encode(pair).decode()


def _key(host: str) -> str:
    return _HUB_KEY if host == HUB else host


def _from_environment(registry: Registry, env: Mapping[str, str]) -> Credentials | None:
    names = (registry.username_env, registry.password_env)
    if not any(names) or not any(env.get(name) for name in names if name):
        return None
    missing = [name for name in names if not env.get(name)]
    if missing:
        raise AuthorisationError(
            f"half of the credentials for {registry.name} is missing: {' and '.join(missing)}",
            hint="set both variables, or none of them to use docker's own store",
        )
    username, secret = (env[name] for name in names)
    return Credentials(username=username, secret=secret, source=f"environment ({names[0]})")


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        # Not what was read: it may hold a password.
        raise InputError(
            "docker's config.json can't be read", why=type(error).__name__, hint="docker login"
        ) from None
    return found if isinstance(found, dict) else {}


def _from_helper(name: str, host: str, executor: Executor) -> Credentials | None:
    program = f"docker-credential-{name}"
    try:
        done = executor.feed((program, "get"), _key(host) + "\n", timeout=_TIMEOUT)
    except ToolError as error:
        raise ToolError(
            f"the credential helper for {host} is not installed: {program}",
            hint="install it, or take it out of docker's config.json and docker login",
        ) from error
    if done.code != 0:
        said = (done.stdout or done.stderr).strip()
        if _NOT_THERE in said:
            return None
        raise (
            ToolError(
                f"the credential helper {program} failed for {host}", why=said.splitlines()[0][:200]
            )
            if said
            else ToolError(f"the credential helper {program} failed for {host}")
        )
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ToolError(f"the credential helper {program} answers no credentials") from None
    own = "" if username == _TOKEN_USER else username
    return Credentials(username=own, secret=secret, source=program)


def _entry(table: object, host: str) -> object:
    """Return what a table of docker's has for a host: by its own key, else by the host in a key.

    docker takes scheme and path off a key, as in `https://registry.example/v1/`.
    """
    if not isinstance(table, Mapping):
        return None
    own = _key(host)
    hosts = _HUB_HOSTS if host == HUB else {host}
    alike = (entry for key, entry in table.items() if _host_of(str(key)) in hosts)
    return table[own] if own in table else next(alike, None)


def _host_of(key: str) -> str:
    return re.sub(r"^https?://", "", key).partition("/")[0]


def _from_auths(auths: object, host: str) -> Credentials | None:
    entry = _entry(auths, host)
    if not isinstance(entry, Mapping):
        return None
    source = "docker's config.json"
    if token := entry.get("identitytoken"):
        return Credentials(username="", secret=str(token), source=source)
    if not entry.get("auth"):
        username, secret = (str(entry.get(name) or "") for name in ("username", "password"))
        # Where a helper keeps the secret, docker leaves an empty entry here.
        known = username and secret
        return Credentials(username=username, secret=secret, source=source) if known else None
    try:
        text = base64.b64decode(str(entry["auth"])).decode()
    except ValueError:
        text = ""
    username, colon, secret = text.partition(":")
    # Older versions of docker filled up with zeros.
    secret = secret.strip("\0")
    return Credentials(username=username, secret=secret, source=source) if colon else None


def find_credentials(
    registry: Registry, env: Mapping[str, str], executor: Executor
) -> Credentials | None:
    """Return the credentials for a registry, or None where nobody has any.

    The environment comes first, then docker's helper for this registry, its store for all of
    them, and its file.

    Args:
        registry: says which variables to look at.
        env: the environment.
        executor: starts docker's credential helpers.

    Raises:
        InputError: docker's configuration can't be read (exit 2).
        ToolError: a helper is configured, but not installed, or fails (exit 3).
        AuthorisationError: one of two variables is missing (exit 5).
    """
    if found := _from_environment(registry, env):
        return found
    config = _read_config(config_folder(env))
    own = _entry(config.get("credHelpers"), registry.host)
    for helper in filter(None, (own, config.get("credsStore"))):
        if found := _from_helper(str(helper), registry.host, executor):
            return found
    return _from_auths(config.get("auths"), registry.host)


@contextmanager
def docker_store(host: str, known: Credentials | None) -> Iterator[Path]:
    """Give a directory that docker's kin read credentials from, for the time of the block.

    Nobody else can read it, and it holds one registry's and no other's: two accounts on one host
    would have one place in it.

    Args:
        host: of the registry.
        known: the credentials; with None there are none in it.
    """
    auths = {}
    if known:
        token = known.identity_token
        auths[_key(host)] = {"identitytoken": token} if token else {"auth": known.basic}
    with passing_folder("docker") as folder:
        path = folder / "config.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"auths": auths}), encoding="utf-8")
        yield folder
