from __future__ import annotations

from pathlib import Path

import pytest

from buildlib.errors import ToolError
from buildlib.executor import Completed
from buildlib.registry.local import Program, find_program

from fakes import FakeExecutor


def _program(folder: Path, name: str) -> str:
    path = folder / name
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["registry", "docker-registry"])
def test_the_registry_is_found_under_either_name(tmp_path: Path, name: str) -> None:
    path = _program(tmp_path, name)
    said = f"{path} github.com/distribution/distribution/v3 v3.0.0\n"
    executor = FakeExecutor({(path,): Completed(code=0, stdout=said)})
    assert find_program(executor, {"PATH": str(tmp_path)}) == Program(path, "v3.0.0")


def test_another_program_of_that_name_is_not_taken(tmp_path: Path) -> None:
    path = _program(tmp_path, "registry")
    executor = FakeExecutor({(path,): Completed(code=0, stdout="registry of births 1.0\n")})
    with pytest.raises(ToolError, match="no registry program found") as caught:
        find_program(executor, {"PATH": str(tmp_path)})
    assert "docker-registry" in caught.value.hint
