"""What `docker-login` does, and what it means where docker does not sign in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from buildlib.commands.session import Edge
from buildlib.config.tables import Registry
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
    TimedOutError,
    ToolError,
    TransientError,
)
from buildlib.registry.credentials import Credentials, find_credentials
from buildlib.registry.open import chosen_registries
from buildlib.retry import is_transient
from buildlib.shell import shell_line

_TIMEOUT: Final = 60.0
# How a line of docker's log begins: what it tries on the way, and not how that ended.
_LOG: Final = "time="
_ENGINE: Final = re.compile(r"docker daemon|docker API|error during connect", re.IGNORECASE)
_STORE: Final = re.compile(
    r"(saving|storing|getting) credentials|docker-credential-", re.IGNORECASE
)
_CERTIFICATE: Final = re.compile(r"x509:|tls: .*certificate")
_REFUSED: Final = re.compile(
    r"unauthorized|forbidden|denied|incorrect|no basic auth credentials|(status:?|HTTP) 40[13]\b",
    re.IGNORECASE,
)


def login_problem(host: str, stderr: str, known: Credentials) -> BuildlibError:
    """Return why docker has not signed in: it has one exit code for everything.

    Args:
        host: of the registry.
        stderr: what docker said.
        known: the credentials, none of which is told.
    """
    lines = [line for line in stderr.splitlines() if not line.startswith(_LOG)]
    said = "\n".join(lines).strip()
    why = said.replace(known.secret, "***")
    # These two first: a socket and a file that may not be used say "permission denied" as well.
    if _ENGINE.search(said):
        hint = "start it, or see invoke doctor"
        return EngineError("the Docker engine does not answer", why=why, hint=hint)
    if _STORE.search(said):
        return ToolError(
            f"docker can't keep the credentials for {host}",
            why=why,
            hint="install the helper that docker's config.json names, or take it out there",
        )
    if _CERTIFICATE.search(said):
        return InputError(f"the certificate of {host} is not trusted", why=why)
    if _REFUSED.search(said):
        return AuthorisationError(f"{host} refuses the credentials", why=why)
    if is_transient(said):
        return _unreachable(host, why)
    return EngineError(f"docker does not sign in to {host}", why=why)


def _unreachable(host: str, why: str) -> TransientError:
    return TransientError(f"{host} does not answer docker", why=why, hint="try again later")


def login(run: Edge, names: Sequence[str]) -> None:
    """Hand the variables' credentials to docker, or see that docker has some.

    Raises:
        AuthorisationError: there are none, or they are refused (exit 5).
        TransientError: the registry does not answer docker (exit 6).
        BuildlibError: as `login_problem`.
    """
    config = run.config()
    for registry in chosen_registries(config, names):
        words = ("docker", "login", registry.host, "--password-stdin", "--username")
        if run.dry:
            name = f'"${registry.username_env}"' if registry.username_env else "NAME"
            secret = registry.password_env or "PASSWORD"
            run.console.answer(f'printf %s "${secret}" | {shell_line(words)} {name}')
            continue
        known = find_credentials(registry, run.env, run.executor)
        if known is None:
            raise _none(registry)
        if known.source.startswith("environment"):
            _sign_in(run, registry.host, (*words, known.username), known)
            run.console.answer(f"{registry.name}: docker is signed in as {known.username}")
        else:
            run.console.answer(f"{registry.name}: {known.source} has credentials already")


def _none(registry: Registry) -> AuthorisationError:
    variables = " and ".join(filter(None, (registry.username_env, registry.password_env)))
    return AuthorisationError(
        f"there are no credentials for {registry.name}",
        hint=f"set {variables}" if variables else f"docker login {registry.host}",
    )


def _sign_in(run: Edge, host: str, argv: Sequence[str], known: Credentials) -> None:
    try:
        done = run.executor.feed(argv, known.secret, timeout=_TIMEOUT)
    except TimedOutError as error:
        # It has no limit of its own, and what it waits for is the registry.
        raise _unreachable(host, error.what) from error
    if done.code != 0:
        raise login_problem(host, done.stderr, known)
