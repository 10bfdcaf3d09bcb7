"""Credentials for a registry: from the environment, or from docker's configuration.

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
# The key of Docker Hub in docker's own files; other programs write one of its hosts.
_HUB_KEY: Final = "https://index.docker.io/v1/"
_HUB_HOSTS: Final = frozenset({HUB, "index.docker.io", "registry-1.docker.io"})
# The user name of a helper's answer if the secret is an identity token.
_IDENTITY_USER: Final = "<token>"
_NOT_THERE: Final = "credentials not found"


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """A name with a password, or an identity token; its text does not show the secret.

    Args:
        username: empty for a token.
        secret: the password, or the token.
        source: where it was found, for messages.
    """

    username: str
    secret: str = field(repr=False)
    source: str

    @property
    def identity_token(self) -> str:
        """Return the token, empty if it is a password."""
        return "" if self.username else self.secret

    @property
    def basic(self) -> str:
        """Return the value for `Authorization: Basic`."""
        # Bytes of a variable that are not UTF-8 are sent unchanged.
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
        # The content is not printed: it may hold a password.
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
            hint="install it, or remove it from docker's config.json and run docker login",
        ) from error
    if done.code != 0:
        said = (done.stdout or done.stderr).strip()
        if _NOT_THERE in said:
            return None
        why = said.partition("\n")[0][:200]
        raise ToolError(f"the credential helper {program} failed for {host}", why=why)
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise ToolError(f"the credential helper {program} gives no credentials") from None
    own = "" if username == _IDENTITY_USER else username
    return Credentials(username=own, secret=secret, source=program)


def _entry(table: object, host: str) -> object:
    """Return the entry of a host in a table of docker's: by its key, or by the host in a key.

    docker ignores scheme and path of a key, as in `https://registry.example/v1/`.
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
        # If a helper keeps the secret, docker writes an empty entry.
        known = username and secret
        return Credentials(username=username, secret=secret, source=source) if known else None
    try:
        text = base64.b64decode(str(entry["auth"])).decode()
    except ValueError:
        text = ""
    username, colon, secret = text.partition(":")
    # Older versions of docker pad it with zeros.
    secret = secret.strip("\0")
    return Credentials(username=username, secret=secret, source=source) if colon else None


def find_credentials(
    registry: Registry, env: Mapping[str, str], executor: Executor
) -> Credentials | None:
    """Return the credentials for a registry, or None.

    The environment comes first, then docker's helper for this registry, its store for all
    registries, and its configuration file.

    Args:
        registry: names the variables.
        executor: starts docker's credential helpers.

    Raises:
        InputError: docker's configuration can't be read (exit 2).
        ToolError: a configured helper is not installed, or fails (exit 3).
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
    """Give a directory with docker's configuration file, for the time of the block.

    Only this user can read it. It has the credentials for one registry, as two accounts on one host
    would have the same key in it.

    Args:
        known: the credentials; None: the file has none.
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
