"""Unit tests can't start a process, even by accident."""

from __future__ import annotations

import subprocess
from typing import Never

import git  # noqa: F401 - which asks git for its version, before the tests begin
import pytest


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **_: object) -> Never:
        pytest.fail(f"a unit test started a process: {arguments[1:]!r}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
