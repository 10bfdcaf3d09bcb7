"""What users and programs read of tasks that need no engine, word for word."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from conftest import TASKS, Checkout
from gitscript import commit_all
from goldenfiles import FOLDER, Golden, masked

CONFIG = """\
image = "shop"
platforms = ["linux/amd64", "linux/arm64"]

[registries.main]
repository = "127.0.0.1:9/team/shop"

[registries.mirror]
repository = "127.0.0.1:9/shop"
tags = { rules = ["{version}"] }

[run]
port = 8080

[publish]
gates = ["smoke", "policy"]

[sign]
key = "cosign.key"

[verify]
key = "cosign.pub"
"""
DOCKERFILE = f"""\
FROM alpine:3.24@sha256:{"1" * 64}
ARG VERSION
COPY program /
ENTRYPOINT ["/program"]
"""
# Whatever the bootstrap and others have set.
ENVIRONMENT = {
    "BUILDLIB_BASE_IMAGES": "",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "COLUMNS": "80",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a project at its version 1.2.3, with two registries."""
    root = tmp_path_factory.mktemp("golden") / "shop"
    root.mkdir()
    files = {
        "tasks.py": TASKS,
        "buildlib.toml": CONFIG,
        "Dockerfile": DOCKERFILE,
        ".dockerignore": ".git\n",
        ".gitignore": "__pycache__/\n",
        "cosign.pub": "-----BEGIN PUBLIC KEY-----\n",
        "program": "#!/bin/sh\n",
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    commit_all(root, "v1.2.3")
    programs = root.parent / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        program = shutil.which(name)
        assert program
        (programs / name).symlink_to(program)
    # Nothing is asked of docker: there is none.
    return Checkout(root, "shop", {**ENVIRONMENT, "PATH": str(programs), "HOME": str(root.parent)})


def _printed(done: subprocess.CompletedProcess[str], shop: Checkout) -> str:
    """Return all that a task printed, with its exit code, as it is told in a golden file."""
    names = {str(shop.root): "/shop", str(shop.root.parent): "/home"}
    parts = [f"exit {done.returncode}", "-- stdout", done.stdout, "-- stderr", done.stderr]
    return masked("\n".join(part.removesuffix("\n") for part in parts if part), names) + "\n"


def _names(shop: Checkout) -> list[str]:
    listing = shop.invoke("--list").stdout
    return re.findall(r"^  (\S+)", listing, re.MULTILINE)


@pytest.mark.unmeasured
def test_the_list_of_tasks_and_the_help_of_each(shop: Checkout, golden: Golden) -> None:
    golden.check("list.txt", shop.invoke("--list").stdout)
    names = _names(shop)
    for name in names:
        golden.check(f"help/{name}.txt", shop.invoke("--help", name).stdout)
    assert {path.stem for path in (FOLDER / "help").iterdir()} == set(names)


READ = {
    "version": "version",
    "version-json": "version --json",
    "version-explain": "version --explain",
    "config": "config",
    "config-json": "config --json",
    "docker-build": "docker-build --dry-run",
    "docker-build-all": "docker-build --dry-run --platform all --output oci",
    "docker-publish": "docker-publish --dry-run",
    "docker-publish-one": (
        "docker-publish --dry-run --registry main --skip-gate smoke --skip-gate sign --reason test"
    ),
    "docker-policy": "docker-policy --dry-run",
    "docker-reproduce": "docker-reproduce --dry-run",
    "docker-smoke": "docker-smoke --dry-run",
    "docker-builder": "docker-builder create --dry-run",
    "docker-sign": f"docker-sign 127.0.0.1:9/shop@sha256:{'1' * 64} --dry-run",
    "tag": "tag v1.2.4 --dry-run",
    "goreleaser-config": "goreleaser-config --dry-run",
    "clean": "clean --dry-run",
}


@pytest.mark.parametrize(("name", "words"), READ.items(), ids=READ)
def test_what_is_printed_and_what_would_be_run(
    shop: Checkout, golden: Golden, name: str, words: str
) -> None:
    golden.check(f"printed/{name}.txt", _printed(shop.invoke(*words.split()), shop))


# One of each error that needs no registry.
ERRORS = """\
docker-bild
docker-build --plattform linux/amd64
docker-build --platform
version x
docker-build --platform x
docker-build --tag A:B
docker-build --build-arg 1
docker-build --secret id=x,src=missing
docker-build --output nothing
docker-build --push
docker-build --builder farm
docker-build --target none --dry-run
docker-run --json
docker-run --port x
docker-run --detach --data-dir /etc
docker-smoke --check nothing
docker-smoke --image missing.tar
docker-policy --image missing.tar
docker-scan --severity bad
docker-size --top -1
docker-sbom --output /proc/x
docker-diff --old missing.tar
docker-diff --markdown --json
docker-bases --update --check
docker-builder nothing
docker-builder status
docker-publish --registry none
docker-publish --skip-gate none --reason test
docker-publish --skip-gate smoke
docker-push --image missing.tar
docker-promote x 1.2.3
docker-sign x
docker-verify x
docker-verify 127.0.0.1:9/x:1
docker-login
docker-login --registry none
docker-logs
docker-clean --data
docker-reproduce --platform x
tag
tag v1.2.3
tag v1.2
binary --platform plan9
goreleaser-config --check
"""
# An engine that can do nothing but say what it is.
INFO = (
    '{"ServerVersion": "26.1.5", "OSType": "linux", "Architecture": "x86_64", "ClientInfo":'
    ' {"Version": "26.1.5", "Context": "default", "Plugins":'
    ' [{"Name": "buildx", "Version": "v0.13.1"}]}}'
)
DOCKER = f"""\
#!/bin/sh
[ "$1" = info ] && echo '{INFO}' && exit
echo "not in this test: $1" >&2
exit 1
"""


@pytest.fixture
def _engine(shop: Checkout) -> Iterator[None]:
    program = shop.root.parent / "programs" / "docker"
    program.write_text(DOCKER, encoding="utf-8")
    program.chmod(0o755)
    yield
    program.unlink()


@pytest.mark.usefixtures("_engine")
def test_each_error_and_its_exit_code(shop: Checkout, golden: Golden) -> None:
    printed = [
        f"$ invoke {words}\n{_printed(shop.invoke(*words.split()), shop)}"
        for words in ERRORS.splitlines()
    ]
    golden.check("errors.txt", "\n".join(printed))


@pytest.mark.usefixtures("_engine")
def test_how_a_container_would_be_run(shop: Checkout, golden: Golden) -> None:
    done = shop.invoke("docker-run", "--dry-run", "--detach", "--port", "8080")
    golden.check("printed/docker-run.txt", _printed(done, shop))


WRONG = {
    "a key that is not known": 'image = "shop"\nplatfroms = ["linux/amd64"]\n[smokee]\n',
    "a type": 'image = 1\nplatforms = "linux/amd64"\n[smoke]\nport = "x"\n',
    "no image": 'platforms = ["linux/amd64"]\n',
    "no TOML": 'image = "shop\n',
    "a value": 'image = "Shop"\nversion-scheme = "semantic"\n[scan]\nseverity = "bad"\n',
}


def test_each_error_of_the_configuration(shop: Checkout, golden: Golden) -> None:
    file, parts = shop.root / "buildlib.toml", []
    for kind, text in WRONG.items():
        file.write_text(text, encoding="utf-8")
        parts.append(f"# {kind}\n{_printed(shop.invoke('version'), shop)}")
    file.write_text(CONFIG, encoding="utf-8")
    golden.check("configuration-errors.txt", "\n".join(parts))
