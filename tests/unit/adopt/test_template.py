from __future__ import annotations

import json
from pathlib import Path

import pytest

from buildlib.adopt.dockerfile_facts import read_facts
from buildlib.adopt.template import dockerfile_text, find_language, render
from buildlib.errors import InputError

GO = {
    "go.mod": "module example.org/team/shop/v2\n\ngo 1.22\n",
    "main.go": 'package main\nfunc main() { http.ListenAndServe(":9090", nil) }\n// "/healthz"\n',
}
PYTHON = {
    "pyproject.toml": '[project]\nname = "shop"\nrequires-python = ">=3.11,<3.13"\n'
    '[project.scripts]\nshop-server = "shop:main"\n',
    "shop.py": 'from flask import Flask\napp.run(port=5000)\n@app.route("/ping")\n',
}
NODE = {
    "package.json": '{"scripts": {"start": "node src/server.js", "build": "tsc"}}',
    "package-lock.json": "{}",
    "src/server.js": "app.listen(process.env.PORT || 4000)\n",
    ".nvmrc": "v22.1.0\n",
}


def _make(root: Path, files: dict[str, str], language: str) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return dockerfile_text(root, language, files)


@pytest.mark.parametrize(
    ("language", "files", "port", "health", "command"),
    [
        ("go", GO, 9090, "/healthz", '["/usr/local/bin/shop"]'),
        ("python", PYTHON, 5000, "/ping", '["shop-server"]'),
        ("node", NODE, 4000, "", '["node", "src/server.js"]'),
    ],
)
def test_a_template_serves_where_the_program_does(
    tmp_path: Path, language: str, files: dict[str, str], port: int, health: str, command: str
) -> None:
    text = _make(tmp_path, files, language)
    facts = read_facts(text)
    assert [one.value for one in facts.ports] == [port]
    assert facts.health
    assert facts.health.value.path == health
    assert facts.uid
    assert "VERSION" in facts.dockerfile.args
    assert len(facts.dockerfile.stages) > 1
    assert text.endswith(f"\nENTRYPOINT {command}\n")
    assert "@" not in text


def test_go_builds_the_program_of_the_module(tmp_path: Path) -> None:
    program = "package main\nfunc main() {}\n"
    files = {"go.mod": "module x/shop\ngo 1.99.1\n", "go.sum": "", "x_test.go": program}
    files |= {"cmd/admin/main.go": program, "cmd/shop/main.go": program, "lib.go": "package shop\n"}
    text = _make(tmp_path, files, "go")
    assert "go build -trimpath" in text
    assert "-o /out/shop ./cmd/shop\n" in text
    assert "COPY go.mod go.sum ./\n" in text
    assert text.startswith("ARG GO_VERSION=1.99\n")
    assert "EXPOSE" not in text
    (tmp_path / "cmd/shop/main.go").unlink()
    del files["cmd/shop/main.go"]
    assert "-o /out/admin ./cmd/admin\n" in dockerfile_text(tmp_path, "go", files)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"main.py": "print()"}, ["python", "main.py"]),
        ({"manage.py": "import django"}, ["python", "manage.py", "runserver", "0.0.0.0:8000"]),
        (
            {"app.py": "import fastapi\napi = FastAPI()\n"},
            ["uvicorn", "app:api", "--host", "0.0.0.0", "--port", "8000"],
        ),
        (
            {"app.py": "app = Flask(__name__)\n"},
            ["flask", "--app", "app:app", "run", "--host", "0.0.0.0", "--port", "8000"],
        ),
        ({"src/shop/__main__.py": ""}, ["python", "-m", "shop"]),
    ],
)
def test_python_starts_what_there_is(
    tmp_path: Path, files: dict[str, str], command: list[str]
) -> None:
    text = _make(tmp_path, files, "python")
    assert text.endswith(f"\nENTRYPOINT {json.dumps(command)}\n")
    assert "COPY . .\n" in text


@pytest.mark.parametrize(
    ("package", "more", "command"),
    [
        ({"scripts": {"start": "next start"}}, {}, ["npm", "start"]),
        ({"main": "lib/x.js"}, {}, ["node", "lib/x.js"]),
        ({"bin": {"shop": "cli.js"}}, {}, ["node", "cli.js"]),
        ({"bin": "cli.js"}, {}, ["node", "cli.js"]),
        ([], {"index.js": ""}, ["node", "index.js"]),
    ],
)
def test_node_starts_what_there_is(
    tmp_path: Path, package: object, more: dict[str, str], command: list[str]
) -> None:
    text = _make(tmp_path, {"package.json": json.dumps(package), **more}, "node")
    assert text.endswith(f"\nENTRYPOINT {json.dumps(command)}\n")
    assert "npm install --omit=dev" in text
    assert "AS build" not in text


@pytest.mark.parametrize(
    ("language", "files", "problem"),
    [
        ("go", {"go.mod": "module x\n"}, "there is no Go program"),
        ("python", {"requirements.txt": ""}, "nothing says what"),
        ("node", {"package.json": "{}"}, "nothing says what"),
        ("node", {"package.json": "{"}, "not valid JSON"),
        (
            "python",
            {"pyproject.toml": '[project]\nrequires-python = "x"\n', "main.py": "x"},
            "requires-python",
        ),
    ],
)
def test_what_can_not_be_built_is_refused(
    tmp_path: Path, language: str, files: dict[str, str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        _make(tmp_path, files, language)


def test_the_language_is_found_or_asked_for(tmp_path: Path) -> None:
    assert find_language(tmp_path, "") == ""
    with pytest.raises(InputError, match="template go needs"):
        find_language(tmp_path, "go")
    (tmp_path / "go.mod").touch()
    assert find_language(tmp_path, "") == "go"
    (tmp_path / "package.json").touch()
    with pytest.raises(InputError, match="several languages: go, node"):
        find_language(tmp_path, "")
    assert find_language(tmp_path, "node") == "node"
    with pytest.raises(InputError, match="unknown template 'ruby'"):
        find_language(tmp_path, "ruby")


def test_a_part_of_a_template_depends_on_a_value() -> None:
    text = "@if A\na @A@\n@end\n@if !A\nnone\n@end\nend\n"
    assert render(text, {"A": "1"}) == "a 1\nend\n"
    assert render(text, {"A": ""}) == "none\nend\n"
