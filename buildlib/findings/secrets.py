"""What looks like a secret: by its name, by its value, and where the value speaks against the name.

A guess: names that are not those of secrets can be configured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Final

# What stands for a secret.
HIDDEN: Final = "***"
# A variable and its value, in a command or a file.
ASSIGNED: Final = re.compile(r"""\b([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|\S+)""")
# The build args before a command, and variables: BuildKit writes values without quotes.
_UNQUOTED: Final = re.compile(r"(?:RUN )?\|\d+ |ENV ")
_SPACED: Final = re.compile(
    r"\b([A-Za-z_][A-Za-z0-9_]*)=(\S*(?:\s+(?![A-Za-z_][A-Za-z0-9_]*=|/|#)\S+)*)"
)
# Words of a name that mean a secret, between its other words.
_NAME: Final = re.compile(
    r"(?:PASS(?:WORD|WD|PHRASE)S?|(?:^|_)(?:PASS|PWD|SECRETS?|TOKENS?|CREDENTIALS?|AUTH(?:ORIZATION)?"
    r"|(?:API|ACCESS|PRIVATE|SECRET|SIGNING|SSH|GPG|PGP|DEPLOY|ENCRYPTION|MASTER)_?KEYS?|APIKEYS?))"
    r"(?:_|$)"
)
# `apiKey` and `api-key` are api_key.
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
# Of names that are about a secret: where it is, how long it may be, what kind it is.
_ABOUT: Final = re.compile(
    r"(?:^|_)(?:MAX|MIN|NUM|ENABLED?|DISABLED?|USE|ALLOW|REQUIRE|PUBLIC|VITE|REACT_APP)_"
    r"|_(?:FILE|PATH|DIR|DIRECTORY|FOLDER|URL|URI|ENDPOINT|HOST|HOSTNAME|PORT|SERVER|DOMAIN|REALM"
    r"|VERSION|TTL|TIMEOUT|AGE|EXPIRY|EXPIRATION|EXPIRES|LIFETIME|DURATION|INTERVAL"
    r"|LENGTH|LEN|SIZE|LIMIT|COUNT|BITS|ROUNDS|ENABLED|DISABLED|REQUIRED|ALLOWED"
    r"|TYPE|METHOD|METHODS|MODE|ALGORITHM|ALG|SCHEME|FORMAT|ENCODING|STRENGTH|POLICY"
    r"|COMPLEXITY|ENCRYPTION|HASHERS?|HASHING|PERMISSIONS?|VALIDATORS?|RULES|REGEX|PATTERN|CHARSET"
    r"|NAME|ID|HEADER|FIELD|COOKIE|PREFIX|SUFFIX|ISSUER|AUDIENCE|PROVIDER|BACKEND|DRIVER|STORE"
    r"|PROJECT|REGION|NAMESPACE|SCOPES?|ROLE|CLASS|MANAGER|PLUGIN|MODULE|FINGERPRINT|FINGERPRINTS"
    r"|PUBLIC_KEY|REGISTRY|SOCK|SOCKET)$"
)
_PASSWORD: Final = re.compile(r"PASS|PWD|SECRET")
_FINGERPRINTED: Final = re.compile(r"(?:GPG|PGP|SIGNING)_?KEYS?(?:_|$)")
_FINGERPRINT: Final = re.compile(
    r"(?:(?:0x)?(?:[0-9A-Fa-f]{64}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{8})"
    r"|(?:SHA256|MD5):[^\s,;]+)(?:[\s,;]+(?=\S)|$)"
)
_FLAG: Final = re.compile(
    r"|[01]|true|false|yes|no|on|off|none|null|nil|enabled|disabled|auto|default", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"[+-]?\d{1,9}(?:\.\d+)?(?:[num]s|[smhdw%]|[kKMG]i?[bB]?)?")
_PLACE: Final = re.compile(r"(?:\.{0,2}/|~/)[\w.@{}$-]{1,40}(?:/[\w.@{}$-]{0,40})*")
_ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s@]+", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"(?:\$\{?\w+\}?|\$\([^)]*\)|\{\{[^{}]*\}\}|<[\w -]+>|\*)+")
_PUBLIC: Final = re.compile(
    r"ssh-(?:rsa|dss|ed25519) |ecdsa-sha2-|-----BEGIN (?:PGP )?(?:PUBLIC KEY|CERTIFICATE)"
)
# Of AUTH alone: the name of a way to authenticate.
_METHOD: Final = re.compile(
    r"[A-Za-z][a-z]{1,9}[0-9]{0,2}(?:-[a-z0-9]{1,8}){0,3}"
    r"|[A-Z]{2,10}[0-9]{0,2}(?:-[A-Z0-9]{1,8}){0,3}"
)

# Shapes that are a secret by themselves, whatever they are called. A short list of what is not
# mistaken for anything else: the scanners that know hundreds guess by entropy as well, and
# a gate has to be right.
_SHAPES: Final = (
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\bAGE-SECRET-KEY-1[0-9A-Z]{50,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}\b|\bya29\.[0-9A-Za-z_-]{20,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{22,}"
    r"|\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{20,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"
    r"|\bnpm_[A-Za-z0-9]{36}\b|\bpypi-AgE[A-Za-z0-9_-]{50,}"
    r"|\b[sr]k_live_[A-Za-z0-9]{16,}|\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b"
    r"|\bsk-(?:ant|proj|svcacct)-[A-Za-z0-9_-]{20,}|\bhvs\.[A-Za-z0-9_-]{24,}"
    r"|\bdo[opr]_v1_[0-9a-f]{64}\b|\bhf_[A-Za-z0-9]{34}\b"
    r"|\bAccountKey=[A-Za-z0-9+/]{86}==|\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b"
    r"|\bhooks\.slack\.com/services/T[0-9A-Z]{6,}/B[0-9A-Z]{6,}/[0-9A-Za-z]{20,}"
    r"|\beyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*"
)
_TOKENS: Final = re.compile(_SHAPES)
_TOKEN_BYTES: Final = re.compile(_SHAPES.encode())
# One of these is in each of them; to look for words is many times as quick.
_MARKS: Final = tuple(
    mark.encode()
    for mark in (
        *("PRIVATE KEY", "AGE-SECRET-KEY-", "AKIA", "ASIA", "AIza", "ya29.", "github_pat_", "eyJ"),
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-"),
        *("glft-", "glsoat-", "xox", "dckr_", "npm_", "pypi-AgE", "k_live_", "SG.", "sk-", "hvs."),
        *("doo_v1_", "dop_v1_", "dor_v1_", "hf_", "AccountKey=", "hooks.slack.com", "shpat_"),
        *("shpca_", "shppa_", "shpss_"),
    )
)
# Only the end of the scheme is looked at: its beginning takes the square of a long word's length.
_CREDENTIALS: Final = re.compile(r"(?<=[a-z0-9+.-])://[^\s/:@\"']*:([^\s/@\"']+)@", re.IGNORECASE)


def is_token(text: str) -> bool:
    """Return whether a text holds a token or a private key of a well-known shape."""
    return bool(_TOKENS.search(text))


def hide_tokens(text: str, mark: Callable[[str], str]) -> str:
    """Return a text with something else in the place of each such token."""
    return _TOKENS.sub(lambda found: mark(found[0]), text)


def hide_assigned(text: str, allowed: Iterable[str] = ()) -> str:
    """Return an instruction of an image's history without secret values; all of it may be one.

    Args:
        allowed: patterns of names that are not those of secrets.
    """
    patterns = tuple(allowed)

    def hide(found: re.Match[str]) -> str:
        return (
            f"{found[1]}={HIDDEN}" if looks_secret(found[1], _bare(found), patterns) else found[0]
        )

    pattern = _SPACED if _UNQUOTED.match(text) else ASSIGNED
    text = pattern.sub(hide, text)
    return HIDDEN if is_token(text) or has_credentials(text) else text


def assigned_secrets(text: str, allowed: Iterable[str] = ()) -> list[str]:
    """Return the secret values that an instruction of a Dockerfile assigns; `allowed` as above."""
    found = ASSIGNED.finditer(text)
    return [_bare(one) for one in found if looks_secret(one[1], _bare(one), allowed)]


def _bare(assigned: re.Match[str]) -> str:
    return assigned[2].strip("\"'")


def tokens_in(content: bytes) -> list[bytes]:
    """Return the tokens and the beginnings of private keys that a file holds."""
    if not any(mark in content for mark in _MARKS):
        return []
    return [found[0] for found in _TOKEN_BYTES.finditer(content)]


def has_credentials(text: str) -> bool:
    """Return whether a text holds an address with a password in it."""
    return any(not _VARIABLE.fullmatch(found) for found in _CREDENTIALS.findall(text))


def looks_secret(name: str, value: str | None = None, allowed: Iterable[str] = ()) -> bool:
    """Return whether a variable would hold a secret.

    Args:
        value: that it has; None: it is not known.
        allowed: patterns of names that are not those of secrets, whatever they hold.
    """
    if any(fnmatchcase(name, pattern) for pattern in allowed):
        return False
    if value is not None and (is_token(value) or has_credentials(value)):
        return True
    words = _WORDS.sub("_", name).upper()
    found = _NAME.search(words)
    if not found or _ABOUT.search(words):
        return False
    return value is None or not _is_harmless(words, value.strip().strip("\"'"))


def _is_harmless(name: str, value: str) -> bool:
    """Return whether no secret has such a value, whatever its variable is called."""
    if _FLAG.fullmatch(value) or _VARIABLE.fullmatch(value) or _PUBLIC.match(value):
        return True
    if _PLACE.fullmatch(value) or _ADDRESS.fullmatch(value):
        return True
    if _NUMBER.fullmatch(value):
        # A password may be a number.
        return not _PASSWORD.search(name)
    if _FINGERPRINTED.search(name) and re.fullmatch(rf"(?:{_FINGERPRINT.pattern})+", value):
        return True
    only_auth = not _NAME.search(name.replace("AUTH", "X"))
    return only_auth and bool(_METHOD.fullmatch(value))
