"""`docker-login`: credentials for docker, and the reasons why docker does not accept them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from buildlib.commands.session import Edge
from buildlib.errors import (
    AuthorisationError,
    BuildlibError,
    EngineError,
    InputError,
    TimedOutError,
    ToolError,
    TransientError,
)
from buildlib.program import PROGRAM
from buildlib.registry.credentials import Credentials, find_credentials
from buildlib.registry.loopback import is_loopback
from buildlib.registry.open import chosen_registries
from buildlib.retry import is_transient
from buildlib.shell import shell_line

_TIMEOUT: Final = 60.0
# The beginning of a line of docker's log, which is not the outcome.
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
    """Return why docker has not signed in; it has one exit code for all reasons.

    Args:
        known: the credentials, which are not in the message.
    """
    lines = [line for line in stderr.splitlines() if not line.startswith(_LOG)]
    said = "\n".join(lines).strip()
    why = said.replace(known.secret, "***")
    # These two first: the messages for a socket and a file contain "permission denied" as well.
    if _ENGINE.search(said):
        hint = f"start it, or see {PROGRAM} doctor"
        return EngineError("the Docker engine does not answer", why=why, hint=hint)
    if _STORE.search(said):
        return ToolError(
            f"docker can't keep the credentials for {host}",
            why=why,
            hint="install the helper that docker's config.json names, or remove it there",
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
    """Give docker the credentials of the environment, or check that docker has some.

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
        if known is None and is_loopback(registry.host) and not registry.password_env:
            run.console.answer(f"{registry.name}: on this machine, without credentials")
            continue
        if known is None:
            variables = " and ".join(filter(None, (registry.username_env, registry.password_env)))
            raise AuthorisationError(
                f"there are no credentials for {registry.name}",
                hint=f"set {variables}" if variables else f"docker login {registry.host}",
            )
        if known.source.startswith("environment"):
            _sign_in(run, registry.host, (*words, known.username), known)
            run.console.answer(f"{registry.name}: docker is signed in as {known.username}")
        else:
            run.console.answer(f"{registry.name}: {known.source} has credentials already")


def _sign_in(run: Edge, host: str, argv: Sequence[str], known: Credentials) -> None:
    try:
        with run.console.running(f"logging in to {host}"):
            done = run.executor.feed(argv, known.secret, timeout=_TIMEOUT)
    except TimedOutError as error:
        # It has no time limit of its own, and waits for the registry.
        raise _unreachable(host, error.what) from error
    if done.code != 0:
        raise login_problem(host, done.stderr, known)
