"""The rule about secrets: in the environment, the labels, the history, and the files of layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from buildlib.findings.finding import Level
from buildlib.findings.secrets import (
    ASSIGNED,
    has_credentials,
    is_token,
    looks_secret,
    tokens_in,
)
from buildlib.image.archive import Image
from buildlib.image.root_filesystem import Stored

# Shorter ones are in files by chance.
_SHORTEST: Final = 8
_SHORTEST_WORD: Final = 16
_CREDENTIAL: Final = "a token or a key"
_KEY: Final = "a private key"
_PRIVATE: Final = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY")
# Files that programs keep credentials in, by the end of their path, and how these look there.
_STORES: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = (
    (".npmrc", re.compile(rb"_(?:authToken|auth|password)\s*=\s*[^\s$]")),
    (".netrc", re.compile(rb"\bpassword\s+\S")),
    (".git-credentials", re.compile(rb"://[^\s:@/]*:[^\s@/]+@")),
    (".git/config", re.compile(rb"(?i)://[^\s:@/]*:[^\s@/]+@|extraheader\s*=.*authorization")),
    (".pypirc", re.compile(rb"(?m)^\s*password\s*[:=]\s*\S")),
    (".pgpass", re.compile(rb"(?m)^[^#\s][^:\n]*:[^:\n]*:[^:\n]*:[^:\n]*:\S")),
    (".docker/config.json", re.compile(rb'"(?:auth|identitytoken)"\s*:\s*"[^"]+"')),
    (".aws/credentials", re.compile(rb"aws_secret_access_key\s*=\s*\S")),
)

# The fields of a finding that the check of a rule fills.
Part = dict[str, Any]


class Known(NamedTuple):
    """The secrets of a project, as far as they are known.

    Args:
        values: of build secrets, by their ids.
        allowed: patterns of names that are not those of secrets.
    """

    values: tuple[tuple[str, bytes], ...] = ()
    allowed: tuple[str, ...] = ()


class LeakSearch:
    """Looks for secrets in the files of a layer."""

    largest: int = 1 << 20

    def __init__(self, known: Known) -> None:
        """Take the values apart: a file may be copied whole, or only the token in it."""
        self._known = known
        self._wanted = tuple(
            (f"the build secret {name}", part)
            for name, value in known.values
            for part in _parts(value)
        )
        self.longest = max((len(part) for _, part in self._wanted), default=1)

    def piece(self, content: bytes, /) -> tuple[str, ...]:
        """Return which build secrets a part of a file holds."""
        return tuple(dict.fromkeys(name for name, part in self._wanted if part in content))

    def whole(self, path: str, content: bytes, /) -> tuple[str, ...]:
        """Return what a file holds: build secrets, tokens, a store's credentials, private keys."""
        found = list(self.piece(content))
        if any(f"/{path}".endswith(f"/{end}") and how.search(content) for end, how in _STORES):
            found.append("credentials")
        if _is_env_file(path):
            assigned = ASSIGNED.findall(content.decode(errors="replace"))
            allowed = self._known.allowed
            found += [f"a value of {n}" for n, value in assigned if looks_secret(n, value, allowed)]
        tokens = tokens_in(content)
        if any(not _PRIVATE.match(token) for token in tokens):
            found.append(_CREDENTIAL)
        elif tokens:
            found.append(_KEY)
        return tuple(dict.fromkeys(found))


def _parts(value: bytes) -> Iterator[bytes]:
    text = value.strip()
    if len(text) >= _SHORTEST:
        yield text
    for line in text.splitlines() if b"\n" in text or b"=" in text else ():
        word = re.split(rb"[\s=:\"']+", line.strip().rstrip(b"\"'"))[-1]
        if len(word) >= _SHORTEST_WORD:
            yield word


def _is_env_file(path: str) -> bool:
    name = path.rpartition("/")[2]
    example = re.search(r"example|sample|template|dist|test", name)
    return (name.startswith(".env") or name.endswith(".env")) and not example


def leaks(image: Image, stored: tuple[Stored, ...], allowed: tuple[str, ...]) -> Iterator[Part]:
    """Yield every secret that can be read by pulling the image; never with its value."""
    own = _own_steps(image)
    yield from _in_environment(image, own, allowed)
    for name, value in sorted(image.labels.items()):
        if is_token(value) or has_credentials(value):
            yield {"message": f"the label {name} holds a secret", "path": name}
    yield from _in_history(image, own, allowed)
    for one in stored:
        for what in one.file.holds:
            # Tests of many libraries have keys that are not used for anything.
            level = {"level": Level.WARNING} if what == _KEY else {}
            message = f"it holds {what}, and everybody who pulls the layer can read it"
            yield {"message": message, "layer": one.layer, "path": f"/{one.file.path}", **level}


def _own_steps(image: Image) -> Mapping[int, bool] | None:
    """Return of each step of the history whether it is the image's own; None: all count."""
    if not image.base_layers:
        return None
    steps = image.config.get("history") or ()
    created = image.config.get("created")
    return {number: step.get("created") == created for number, step in enumerate(steps, 1)}


def _in_environment(
    image: Image, own: Mapping[int, bool] | None, allowed: tuple[str, ...]
) -> Iterator[Part]:
    steps = [str(step.get("created_by") or "") for step in image.config.get("history") or ()]
    mine = " ".join(step for number, step in enumerate(steps, 1) if own and own[number])
    for text in image.runtime.get("Env") or ():
        name, _, value = text.partition("=")
        if value and looks_secret(name, value, allowed):
            base = own is not None and not re.search(rf"\bENV (?:.*\s)?{re.escape(name)}=", mine)
            message = f"the variable {name} looks like a secret"
            yield {"message": message, "path": name, "base": base}


def _in_history(
    image: Image, own: Mapping[int, bool] | None, allowed: tuple[str, ...]
) -> Iterator[Part]:
    for number, step in enumerate(image.config.get("history") or (), 1):
        text = str(step.get("created_by") or "")
        if text.startswith("ENV "):
            # It is in the environment, and reported there.
            continue
        about = {"base": own is not None and not own[number]}
        pairs = [(name, value.strip("\"'")) for name, value in ASSIGNED.findall(text)]
        names = {name for name, value in pairs if looks_secret(name, value, allowed)}
        for name in sorted(names):
            message = f"step {number} of the history has the value of {name}"
            yield {"message": message, "path": name, **about}
        if names:
            continue
        if is_token(text):
            yield {"message": f"step {number} of the history holds a token or a key", **about}
        elif has_credentials(ASSIGNED.sub("", text)):
            message = f"step {number} of the history has an address with a password"
            yield {"message": message, **about}
