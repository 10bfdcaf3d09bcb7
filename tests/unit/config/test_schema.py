"""The reference of the configuration: current, and true for every example in the documentation."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from buildlib.config.load import known_keys, load_config
from buildlib.config.schema import json_schema, tables
from buildlib.errors import BuildlibError

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VALIDATOR = Draft202012Validator(json_schema())


def _reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_current(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["reference.py", "--check"])
    assert _reference().main() == 0, capsys.readouterr().err


@pytest.mark.unmeasured
def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert tuple(json_schema()["properties"]) == known_keys()


def test_each_key_is_described() -> None:
    for name, schema in tables():
        for key, inner in schema["properties"].items():
            assert inner.get("description"), f"{name}.{key} has no description"


def _examples() -> Iterator[Any]:
    """Yield each configuration that the documentation shows; other files share no key with it."""
    for page in PAGES:
        blocks = re.findall(r"(?ms)^```toml\n(.*?)^```", page.read_text("utf-8"))
        for number, block in enumerate(blocks, 1):
            table: Mapping[str, Any] = tomllib.loads(block)
            table = table.get("tool", {}).get("buildlib", table)
            if table.keys() & set(known_keys()):
                yield pytest.param(table, id=f"{page.relative_to(ROOT)}-{number}")


def _validate(table: Mapping[str, Any]) -> None:
    # To JSON Schema a date is text.
    VALIDATOR.validate(json.loads(json.dumps(table, default=str)))


@pytest.mark.parametrize("table", [*_examples()])
def test_each_example_of_the_documentation_follows_the_schema(table: Mapping[str, Any]) -> None:
    _validate(table)


def test_this_repositorys_configuration_follows_the_schema() -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["buildlib"]
    _validate(table)


WRONG = {
    "an unknown key": 'imgae = "x"',
    "an unknown key of a table": "[smoke]\nprot = 1",
    "a number for a text": "image = 1",
    "a text for a number": '[smoke]\nport = "x"',
    "a port that is too large": "[run]\nport = 65536",
    "a negative number": "[smoke]\nstart-timeout = -1",
    "a text for a truth value": '[publish]\nsign = "no"',
    "another scheme": 'version-scheme = "semantic"',
    "another gate": '[publish]\ngates = ["smook"]',
    "a size without its unit": '[smoke]\nsize-budget = "20"',
    "a registry without a repository": "[registries.main]\nrequired = true",
    "an ignore without a reason": '[[policy.ignore]]\nrule = "no-setuid"',
    "another driver": '[builders.farm]\ndriver = "dokcer"',
    "two sources of a secret": '[secrets.t]\nenv = "A"\nfile = "b"',
    "a base image from nowhere": '[base-images]\nalpine = "alpine:3"',
    "a share without its sign": '[diff]\nsize = "10"',
    "another rule of diff": '[diff]\nfail-on = ["user"]',
    "another severity": '[scan]\nseverity = "bad"',
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_what_the_schema_refuses_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text(
        f'image = "x"\n{text}\n'.replace('image = "x"\nimage', "image"), encoding="utf-8"
    )
    with pytest.raises(BuildlibError):
        load_config(tmp_path, {})
    assert not VALIDATOR.is_valid(tomllib.loads(text))
