"""What a record must not hold: secrets are replaced before anything is kept."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Any, Final

from buildlib.findings.secrets import HIDDEN, hide_assigned, hide_tokens, looks_secret
from buildlib.terminal.text import clean, redact

# Shorter ones are in half of all words.
_SHORTEST: Final = 4


def is_hidden(text: str) -> bool:
    """Return whether a value was replaced."""
    return text.startswith(HIDDEN)


class Redaction:
    """Replaces secrets in texts.

    Args:
        values: that are secret.
        key: for fingerprints, which is kept apart from the records; without it there are none.
        allowed: patterns of names that are not those of secrets.
    """

    def __init__(
        self, values: Iterable[str] = (), key: bytes = b"", allowed: Iterable[str] = ()
    ) -> None:
        """Keep them, the longest first."""
        self._key, self._allowed = key, tuple(allowed)
        self._values: list[str] = []
        self.hide(values)

    def hide(self, values: Iterable[str]) -> None:
        """Replace further values, whole and line by line."""
        parts = {
            part
            for value in values
            for part in (value.strip(), *(line.strip() for line in value.splitlines()))
            if len(part) >= _SHORTEST
        }
        self._values = sorted({*self._values, *parts}, key=lambda one: (-len(one), one))

    def mark(self, value: str) -> str:
        """Return what stands for a secret; by its keyed fingerprint a change is seen."""
        if not self._key:
            return HIDDEN
        digest = hmac.new(self._key, value.encode("utf-8", "surrogateescape"), hashlib.sha256)
        return f"{HIDDEN}{digest.hexdigest()[:8]}"

    def text(self, text: str) -> str:
        """Return a text without secrets and without what a terminal obeys."""
        for value in self._values:
            if value in text:
                text = text.replace(value, self.mark(value))
        return redact(clean(hide_tokens(text, self.mark)))

    def command(self, text: str) -> str:
        """Return the command that made a layer, without the values of secret build args too."""
        return self.text(hide_assigned(text, self._allowed))

    def value(self, name: str, value: str) -> str:
        """Return the value of a variable, or what stands for it where it looks like a secret."""
        if looks_secret(name, value, self._allowed):
            self.hide([value])
            return self.mark(value)
        return self.text(value)

    def all(self, value: Any) -> Any:  # noqa: ANN401 - JSON has no narrower type
        """Return a JSON value without secrets, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.all(one) for key, one in value.items()}
        return [self.all(one) for one in value] if isinstance(value, list | tuple) else value
