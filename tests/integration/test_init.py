"""From a Dockerfile, or a program, to a healthy container: two commands, on the real engine."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import Checkout, docker, remove_images, run_process

from buildlib.adopt.template import dockerfile_text
from buildlib.containers.plan import OWNER

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]

SERVER = """\
FROM alpine:3.24
ARG VERSION
RUN mkdir /www && echo "hello $VERSION" > /www/index.html
USER 1000:1000
EXPOSE 8080
HEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:8080/ || exit 1
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""
PROGRAM = """\
package main

import "net/http"

var version = "none"

func main() {
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("hello " + version))
	})
	http.ListenAndServe(":8080", nil)
}
"""
Make = Callable[[dict[str, str]], Checkout]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    image = f"buildlib-test-{secrets.token_hex(4)}"

    def made(files: dict[str, str]) -> Checkout:
        root = tmp_path / image
        root.mkdir()
        for name, text in files.items():
            (root / name).write_text(text, encoding="utf-8")
        return Checkout(root, image)

    yield made
    for left in docker("ps", "-aq", "--filter", f"label={OWNER}={image}").split():
        docker("rm", "--force", "--volumes", left, check=False)
    remove_images(image)


def _run(checkout: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "buildlib", *words]
    return run_process(argv, checkout.root, checkout.environment({}))


def _answer(checkout: Checkout, path: str) -> str:
    """Begin, run, and return what the server says; then check it as smoke does."""
    begun = _run(checkout, "init", "--yes")
    assert begun.returncode == 0, begun.stderr
    ran = _run(checkout, "docker-run", "--detach", "--port", "0", "--json")
    assert ran.returncode == 0, ran.stderr
    with urlopen(json.loads(ran.stdout)["address"] + path) as answer:
        text = str(answer.read().decode())
    assert _run(checkout, "docker-stop").returncode == 0
    smoke = _run(checkout, "docker-smoke", "--check", "healthy*", "--check", "user *")
    assert smoke.returncode == 0, smoke.stdout + smoke.stderr
    return text


def test_a_dockerfile_is_a_healthy_container_after_two_commands(make: Make) -> None:
    checkout = make({"Dockerfile": SERVER})
    assert _answer(checkout, "/") == "hello 0.0.1-SNAPSHOT-none\n"


def test_a_go_program_is_a_healthy_container_after_two_commands(make: Make, alpine: str) -> None:
    checkout = make({"go.mod": "module shop\n\ngo 1.22\n", "main.go": PROGRAM})
    # The placeholders of this machine have the names of this repository's Dockerfile.
    text = dockerfile_text(checkout.root, "go", ["main.go"])
    assert f"alpine:{_default(text, 'ALPINE_VERSION')}" == alpine
    mapped = tomllib.loads(Path(os.environ["BUILDLIB_BASE_IMAGES"]).read_text("utf-8"))
    assert f"golang:{_default(text, 'GO_VERSION')}-alpine" in mapped["base-images"]
    assert _answer(checkout, "/healthz") == "hello 0.0.1-SNAPSHOT-none"


def _default(text: str, name: str) -> str:
    found = re.search(rf"^ARG {name}=(\S+)", text, re.MULTILINE)
    assert found
    return found[1]


FILES = {
    "go": {"go.mod": "module shop\n", "main.go": PROGRAM},
    "python": {"requirements.txt": "flask\n", "app.py": "import flask\napp = Flask(x)\n"},
    "node": {"package.json": '{"scripts": {"build": "x"}, "main": "x.js"}', "x.js": "a.listen(80)"},
}


@pytest.mark.parametrize("language", FILES)
def test_templates_are_clean_for_hadolint(make: Make, language: str) -> None:
    checkout = make(FILES[language])
    text = dockerfile_text(checkout.root, language, FILES[language])
    path = checkout.root / "Dockerfile"
    path.write_text(text, encoding="utf-8")
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint
    done = run_process([hadolint, str(path)], checkout.root, os.environ)
    assert (done.returncode, done.stdout) == (0, "")
