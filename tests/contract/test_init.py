"""`init` in repositories of all kinds, as a user runs it; no engine is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MEASURED, ROOT, Checkout, git, run_process
from gitscript import begin
from terminal import on_a_terminal

from buildlib.config.load import load_config

DOCKERFILE = """\
FROM alpine:3.24
ARG VERSION
COPY . /app
USER 1000
EXPOSE 8080
VOLUME /data
HEALTHCHECK CMD wget -q -O- http://localhost:8080/healthz || exit 1
"""
WRITTEN = [".dockerignore", ".gitignore", "buildlib.toml", "tasks.py"]
# Tasks for the directory that they are run in, so that this process can run them there.
ANYWHERE = """\
from pathlib import Path
from buildlib.tasks import collection
namespace = collection(Path.cwd(), complete=True)
"""


class Repository(Checkout):
    """A directory that is not configured, below one with tasks."""

    def init(self, *words: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        # Not with a tasks.py of its own, which may have other tasks.
        return self.invoke(f"--search-root={self.env['HOME']}", "init", *words, **env)

    def names(self) -> list[str]:
        found = (path for path in self.root.rglob("*") if not path.is_dir() or path.is_symlink())
        names = (path.relative_to(self.root).as_posix() for path in found)
        return sorted(one for one in names if not one.startswith((".git/", "__pycache__/")))

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


Make = Callable[..., Repository]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    programs = tmp_path / "programs"
    programs.mkdir()
    found = shutil.which("git")
    assert found
    (programs / "git").symlink_to(found)
    env = {
        "PATH": str(programs),
        "HOME": str(tmp_path),
        "GIT_CEILING_DIRECTORIES": str(tmp_path),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "BUILDLIB_BASE_IMAGES": "",
        "COLUMNS": "100",
    }
    (tmp_path / "tasks.py").write_text(ANYWHERE, encoding="utf-8")

    def made(dockerfile: str = DOCKERFILE, name: str = "shop", remote: str = "") -> Repository:
        root = tmp_path / name
        root.mkdir()
        repository = Repository(root, "shop", env)
        if remote:
            begin(root)
            git(root, "remote", "add", "origin", remote)
        if dockerfile:
            repository.dockerfile(dockerfile)
        return repository

    return made


def test_it_shows_what_it_would_write_and_writes_it_when_told(make: Make) -> None:
    shop = make(remote="git@github.com:You/Shop.git")
    shown = shop.init()
    assert (shown.returncode, shop.names()) == (0, ["Dockerfile"])
    assert "nothing was written; --yes writes without a question" in shown.stderr
    assert '+image = "ghcr.io/you/shop"' in shown.stdout.splitlines()
    assert 'smoke.health-path  "/healthz"                      HEALTHCHECK, Dockerfile line 7' in (
        shown.stdout
    )
    done = shop.init("--yes")
    assert (done.returncode, shop.names()) == (0, sorted(["Dockerfile", *WRITTEN]))
    assert done.stdout.startswith(shown.stdout)
    assert done.stderr == "wrote buildlib.toml, tasks.py, .gitignore, .dockerignore\n"
    # There is no docker here, and that is said.
    assert "  missing    docker " in done.stdout
    assert done.stdout.endswith(
        "\nnext:\n  invoke docker-build\n  invoke docker-run\n  invoke docker-smoke\n"
        "\nbefore a first release:\n  invoke docker-rehearse\n  invoke doctor --for publish\n"
    )
    written = (shop.root / "buildlib.toml").read_text("utf-8")
    assert '# description = "…"\n# licenses = "…"\n' in written
    assert '# [sign]\n# key = "cosign.key"\n' in written
    # Each comment is a key of its place, once it is filled in.
    filled = re.sub(r"(?m)^# (?=[a-z-]+ = |\[)", "", written)
    assert tomllib.loads(filled).keys() >= {"description", "licenses", "sign", "verify"}
    found = tomllib.loads(written)
    assert found == {
        "image": "ghcr.io/you/shop",
        "platforms": ["linux/amd64", "linux/arm64"],
        "smoke": {"port": 8080, "health-path": "/healthz"},
        "run": {"user": 1000, "data-path": "/data"},
    }
    again = shop.init("--yes")
    assert again.stdout.startswith(
        "already there: buildlib.toml, tasks.py, .gitignore, .dockerignore\n"
    )
    assert again.stderr == "there is nothing to write\n"
    assert shop.invoke("version").returncode == 0


def test_what_is_printed_is_a_patch(make: Make, tmp_path: Path) -> None:
    shop = make(remote="https://example.org/you/shop")
    shop.write(".gitignore", "*.log\n")
    patch = shop.init("--noxfile").stdout
    copy = tmp_path / "copy"
    shutil.copytree(shop.root, copy)
    (tmp_path / "patch").write_text(patch, encoding="utf-8")
    git(copy, "apply", str(tmp_path / "patch"))
    shop.init("--noxfile", "--yes")
    for name in shop.names():
        assert (copy / name).read_text("utf-8") == (shop.root / name).read_text("utf-8")
    assert (shop.root / ".gitignore").read_text("utf-8").startswith("*.log\n.venv/\n")


def test_the_json_says_the_same(make: Make) -> None:
    shop = make()
    planned = json.loads(shop.init("--json").stdout)
    assert planned["written"] is False
    assert [one["path"] for one in planned["files"]] == [
        *("buildlib.toml", "tasks.py", ".gitignore", ".dockerignore"),
    ]
    assert planned["settings"][0] == {
        "key": "image",
        "value": "shop",
        "source": "name of the directory",
    }
    assert planned == json.loads(shop.init("--json", "--yes", "--dry-run").stdout)
    assert shop.names() == ["Dockerfile"]
    done = json.loads(shop.init("--json", "--yes").stdout)
    assert done["written"] is True
    assert done["doctor"]["build"] == "missing"
    assert done["next"][1] == "invoke docker-run"
    assert shop.names() == sorted(["Dockerfile", *WRITTEN])


def test_without_git_it_works_too(make: Make) -> None:
    shop = make()
    done = shop.init("--yes", PATH="/nonexistent")
    assert done.returncode == 0
    assert shop.names() == sorted(["Dockerfile", *WRITTEN])


def test_nothing_that_is_there_is_overwritten(make: Make) -> None:
    shop = make(remote="x")
    own = {
        "tasks.py": "from invoke import task\n@task\ndef greet(c):\n    print('hello')\n",
        ".gitignore": "/dist/\r\n.venv\r\n",
        ".dockerignore": "*\n!app\n",
        "noxfile.py": "import nox\n",
        "bin/tool": "#!/bin/sh\n",
    }
    for name, text in own.items():
        shop.write(name, text).write_bytes(text.encode())
    git(shop.root, "add", "--all")
    done = shop.init("--yes", "--noxfile")
    assert done.returncode == 0
    for name, text in own.items():
        if name != ".gitignore":
            assert (shop.root / name).read_bytes() == text.encode()
    ignored = (shop.root / ".gitignore").read_bytes().decode()
    assert ignored == own[".gitignore"] + "__pycache__/\r\n/data/\r\ncosign.key\r\n"
    assert "note: not ignored, as the repository has files there: bin" in done.stdout
    for name in ("tasks.py", "noxfile.py"):
        assert f"add to {name}, as it is not overwritten:" in done.stdout


@pytest.mark.unmeasured
@pytest.mark.parametrize("own", ["", "from invoke import Collection\nns = Collection()\n"])
def test_the_lines_for_other_tasks_work(make: Make, own: str) -> None:
    shop = make()
    text = f"from invoke import task\n{own}@task\ndef greet(c):\n    print('hello')\n"
    text += "ns.add_task(greet)\n" if own else ""
    tasks = shop.write("tasks.py", text)
    done = shop.init("--yes")
    _, _, rest = done.stdout.partition("add to tasks.py, as it is not overwritten:\n")
    lines = [line[2:] for line in rest.splitlines() if line.startswith("  ")]
    lines = lines[: 1 + next(n for n, line in enumerate(lines) if "add_collection" in line)]
    assert len(lines) == (3 if own else 6)
    tasks.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")
    assert shop.invoke("greet").stdout == "hello\n"
    assert shop.invoke("image.version").stdout == "0.0.1-SNAPSHOT-none\n"
    assert "tasks.py" in json.loads(shop.init("--json").stdout)["present"]


def test_a_configuration_that_is_there_stays(make: Make) -> None:
    shop = make()
    project = shop.write("pyproject.toml", '[tool.buildlib]\nimage = "other"\n')
    done = shop.init("--yes")
    assert "already there: pyproject.toml" in done.stdout
    assert "buildlib.toml" not in shop.names()
    assert project.read_text("utf-8") == '[tool.buildlib]\nimage = "other"\n'
    project.write_text("[tool\n", encoding="utf-8")
    assert (shop.init().returncode, shop.init().stderr.count("not valid TOML")) == (2, 1)


def test_one_of_another_project_above_does_not_count(make: Make, tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text('image = "above"\n', encoding="utf-8")
    shop = make(remote="x")
    assert shop.init("--yes").returncode == 0
    assert load_config(shop.root, {}).image == "x"


def test_it_is_written_beside_the_dockerfile_above(make: Make) -> None:
    shop = make(remote="x")
    (shop.root / "deep" / "er").mkdir(parents=True)
    below = Repository(shop.root / "deep" / "er", "shop", shop.env)
    assert json.loads(below.init("--json").stdout)["root"] == str(shop.root)
    assert below.init("--yes").returncode == 0
    assert shop.names() == sorted(["Dockerfile", *WRITTEN])


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("files", "words", "settings"),
    [
        (
            {"services/api/Dockerfile": "FROM x\nCOPY main.go ./\n", "services/api/main.go": ""},
            [],
            {"dockerfile": "services/api/Dockerfile", "context": "services/api"},
        ),
        (
            {"docker/Dockerfile": "FROM x\nCOPY . .\n"},
            [],
            {"dockerfile": "docker/Dockerfile"},
        ),
        (
            {"api/Dockerfile": "FROM x\nCOPY api/main.go ./\n", "api/main.go": ""},
            [],
            {"dockerfile": "api/Dockerfile"},
        ),
        (
            {"Dockerfile.dev": "FROM x\n", "Dockerfile": "FROM x\n", "Dockerfile.md": ""},
            [],
            {},
        ),
        (
            {"a/Dockerfile": "FROM x\n", "b/my.Dockerfile": "FROM x\nUSER 7\n"},
            ["--dockerfile", "b/my.Dockerfile"],
            {"dockerfile": "b/my.Dockerfile", "context": "b", "run": {"user": 7}},
        ),
        (
            {"vendor/x/Dockerfile": "FROM x\n", "a b/Containerfile": "FROM x\n"},
            [],
            {"dockerfile": "a b/Containerfile", "context": "a b"},
        ),
    ],
)
@pytest.mark.parametrize("remote", ["", "x"])
def test_the_dockerfile_and_its_context_are_found(
    make: Make, files: dict[str, str], words: list[str], settings: dict[str, object], remote: str
) -> None:
    shop = make("", remote=remote)
    for name, text in files.items():
        shop.write(name, text)
    assert shop.init("--yes", *words).returncode == 0
    found = tomllib.loads((shop.root / "buildlib.toml").read_text("utf-8"))
    del found["image"], found["platforms"]
    assert found == settings


@pytest.mark.parametrize(
    ("files", "words", "problem"),
    [
        ({}, [], "there is no Dockerfile in "),
        ({}, ["--dockerfile", "x"], "there is no Dockerfile "),
        ({}, ["--template", "go"], "the template go needs go.mod"),
        ({}, ["--template", "ruby"], "unknown template 'ruby'"),
        ({"Dockerfile": "FROM x\n"}, ["--template", "go"], "--template is for a repository"),
        ({"Dockerfile": "FROM x\n"}, ["--image", "A b"], "not a reference to an image"),
        ({"Dockerfile": "FROM x\n"}, ["--image", "a:1"], "--image a:1: the version is the tag"),
        ({"Dockerfile.a": "", "Dockerfile.b": ""}, [], "there are 2 Dockerfiles: Dockerfile.a, "),
        ({"Dockerfile/x": ""}, [], "Dockerfile is not a file"),
        ({"Dockerfile": "FROM x\n", "buildlib.toml/x": ""}, [], "buildlib.toml can't be read"),
        ({"Dockerfile": "FROM x\n", "tasks.py/x": ""}, [], "tasks.py is in the way"),
        ({"Dockerfile": "FROM x\n", ".dockerignore": "[\n"}, [], "line 1 of .dockerignore"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_and_nothing_is_written(
    make: Make, files: dict[str, str], words: list[str], problem: str
) -> None:
    shop = make("")
    for name, text in files.items():
        shop.write(name, text)
    before = shop.names()
    done = shop.init("--yes", *words)
    assert (done.returncode, shop.names()) == (2, before)
    assert problem in done.stderr


@pytest.mark.parametrize("remote", ["", "x"])
def test_a_path_that_is_not_text_is_refused(make: Make, remote: str) -> None:
    shop = make("", remote=remote)
    folder = shop.root / os.fsdecode(b"a\xff")
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM x\n", encoding="utf-8")
    done = shop.init("--yes")
    assert (done.returncode, "is not UTF-8: a\\udcff/Dockerfile" in done.stderr) == (2, True)
    assert not (shop.root / "buildlib.toml").exists()


def test_several_dockerfiles_are_several_images(make: Make) -> None:
    shop = make("", remote="git@github.com:you/shop.git")
    shop.write("services/api/Dockerfile", "FROM x\nCOPY . .\nEXPOSE 80\n")
    shop.write("services/web/Dockerfile", "FROM x\nUSER 7\n")
    shop.write("services/web/Dockerfile.dev", "FROM x\n")
    done = shop.init("--yes")
    assert done.returncode == 0
    assert "  invoke docker-run --only api\n  invoke docker-smoke\n" in done.stdout
    assert "note: left out: services/web/Dockerfile.dev; " in done.stdout
    assert "  missing    docker " in done.stdout
    found = tomllib.loads((shop.root / "buildlib.toml").read_text("utf-8"))
    assert found["images"] == {
        "api": {"context": "services/api", "smoke": {"port": 80, "health": "tcp"}},
        "web": {"context": "services/web", "run": {"user": 7}},
    }
    web = load_config(shop.root, {}, image="web")
    assert (web.image, web.dockerfile) == ("ghcr.io/you/shop/web", "services/web/Dockerfile")
    again = shop.init("--yes")
    assert (again.returncode, again.stderr) == (0, "there is nothing to write\n")
    assert "  invoke docker-run --only api\n  invoke docker-smoke\n" in again.stdout


def test_links_are_never_written_through(make: Make, tmp_path: Path) -> None:
    for number, name in enumerate(("Dockerfile", "buildlib.toml", "tasks.py")):
        shop = make("" if name == "Dockerfile" else DOCKERFILE, name=f"shop{number}")
        (shop.root / "go.mod").touch()
        (shop.root / name).symlink_to(tmp_path / "outside")
        done = shop.init("--yes")
        assert (done.returncode, (tmp_path / "outside").exists()) == (2, False)
        assert f"{shop.root / name} is" in done.stderr
    shop = make(name="linked")
    (tmp_path / "lines").write_text("a\n", encoding="utf-8")
    (shop.root / ".gitignore").symlink_to(tmp_path / "lines")
    assert "add to .gitignore, as it is a link that leads out of" in shop.init("--yes").stdout
    assert (tmp_path / "lines").read_text("utf-8") == "a\n"


def test_a_linked_dockerfile_is_read(make: Make) -> None:
    shop = make("")
    shop.write("docker/Dockerfile", DOCKERFILE)
    (shop.root / "Dockerfile").symlink_to("docker/Dockerfile")
    assert shop.init("--yes").returncode == 0
    assert load_config(shop.root, {}).smoke.port == 8080


def test_a_bare_repository_is_refused(make: Make) -> None:
    bare = make("")
    git(bare.root, "init", "--quiet", "--bare")
    done = bare.init()
    assert (done.returncode, "a bare repository has no files to build" in done.stderr) == (2, True)


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", ["a b", "-x", "ünï", "q'\"", "new\nline", "{x}", "%s"])
def test_a_directory_may_have_any_name(make: Make, name: str) -> None:
    shop = make(name=name, remote="x")
    assert shop.init("--yes").returncode == 0
    assert load_config(shop.root, {}).image == "x"


def test_a_dockerfile_of_windows_is_read(make: Make) -> None:
    shop = make("")
    (shop.root / "Dockerfile").write_bytes(
        b"\xef\xbb\xbf" + DOCKERFILE.replace("\n", "\r\n").encode()
    )
    assert shop.init("--yes").returncode == 0
    config = load_config(shop.root, {})
    assert (config.smoke.port, config.smoke.health_path, config.run.user) == (
        8080,
        "/healthz",
        1000,
    )


def test_without_a_dockerfile_it_writes_one(make: Make) -> None:
    shop = make("", remote="git@github.com:you/shop.git")
    shop.write("go.mod", "module shop\n")
    shop.write("main.go", 'package main\n// net.Listen("tcp", ":7070")\n')
    done = shop.init("--yes")
    assert done.returncode == 0
    assert (
        "note: the Dockerfile is a starting point for go: read it before you build" in done.stdout
    )
    text = (shop.root / "Dockerfile").read_text("utf-8")
    assert 'CMD ["nc", "-z", "127.0.0.1", "7070"]' in text
    config = load_config(shop.root, {})
    assert (config.smoke.port, config.smoke.health_command) == (
        7070,
        ("nc", "-z", "127.0.0.1", "7070"),
    )
    assert config.run.user == 65532


def test_a_build_that_needs_the_history_keeps_it(make: Make) -> None:
    shop = make("FROM x\nCOPY . .\nRUN git describe > /version\n")
    shop.init("--yes")
    assert ".git\n" not in (shop.root / ".dockerignore").read_text("utf-8")
    other = make("FROM x\nCOPY . .\n", name="scm")
    other.write("pyproject.toml", '[build-system]\nrequires = ["setuptools_scm"]\n')
    other.init("--yes")
    assert ".git\n" not in (other.root / ".dockerignore").read_text("utf-8")


def test_the_workflow_needs_an_installation_from_git(make: Make) -> None:
    shop = make(remote="x")
    done = shop.init("--yes", "--workflow")
    assert done.returncode == 2
    assert "the workflow names the commit that buildlib was installed from" in done.stderr
    assert shop.names() == ["Dockerfile"]


@pytest.mark.parametrize(
    ("typed", "code", "written"),
    [("y\n", 0, True), ("n\n", 0, False), ("\x04", 0, False), ("\x03", 130, False)],
)
def test_it_asks_on_a_terminal(make: Make, typed: str, code: int, *, written: bool) -> None:
    shop = make()
    argv = [sys.executable, "-m", "buildlib", "init"]
    # The one that is interrupted reaches all that the others do: they need no coverage.
    env = shop.environment(MEASURED if code == 130 else {})
    with on_a_terminal(argv, shop.root, env, 400, 60) as terminal:
        terminal.until(lambda text: text.endswith("[y/N]"))
        terminal.type(typed)
        assert terminal.ended() == code
        assert ("interrupted" in terminal.text) == (code == 130)
    assert shop.names() == sorted(["Dockerfile", *(WRITTEN if written else [])])


def test_it_fits_a_narrow_terminal(make: Make) -> None:
    shop = make()
    argv = [sys.executable, "-m", "buildlib", "init", "--dry-run"]
    with on_a_terminal(argv, shop.root, shop.environment({"NO_COLOR": None}), 40, 200) as terminal:
        assert terminal.ended() == 0
        raw = terminal.raw
    assert (
        b"\x1b[32m+namespace = collection(Path(__file__).parent, complete=True)\x1b[0m\r\n" in raw
    )
    settings = raw.decode().partition("\r\nimage ")[2].split("\r\n")
    assert "platforms          [" in "\n".join(settings)
    assert max(map(len, settings)) <= 40


def test_the_program_works_where_nothing_is(make: Make) -> None:
    shop = make()
    argv = [sys.executable, "-m", "buildlib", "init", "--yes"]
    with_closed = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *argv]
    env = shop.environment({})
    assert run_process(with_closed[:-1], shop.root, env).returncode == 0
    assert shop.names() == ["Dockerfile"]
    done = run_process(argv, shop.root, env)
    assert done.returncode == 0
    assert done.stdout.endswith("\n  buildlib doctor --for publish\n")


MAKEFILE = """\
IMAGE ?= acme/shop
image:
\tdocker build --build-arg COLOUR=red --target app -t $(IMAGE) .
run: image
\tdocker run --rm -p 9000:9090 -e GREETING=hello --label x=y $(IMAGE)
"""


def test_the_makefile_comes_before_guesses(make: Make) -> None:
    text = "FROM x AS app\nARG COLOUR\nEXPOSE 8080\nFROM x AS dev\n"
    shop = make(text, remote="git@github.com:you/shop.git")
    shop.write("Makefile", MAKEFILE)
    planned = json.loads(shop.init("--json", "--yes").stdout)
    found = tomllib.loads((shop.root / "buildlib.toml").read_text("utf-8"))
    assert (found["image"], found["target"]) == ("acme/shop", "app")
    assert found["build-args"] == {"COLOUR": "red"}
    assert found["smoke"] == {"port": 9090, "health": "tcp"}
    sources = {one["key"]: one["source"] for one in planned["settings"]}
    assert sources["image"] == sources["build-args.COLOUR"] == "Makefile:3"
    assert sources["smoke.port"] == sources["run.env.GREETING"] == "Makefile:5"
    assert any("--from-makefile lists them" in note for note in planned["notes"])
    table = shop.init("--from-makefile")
    assert (table.returncode, "Makefile:3" in table.stdout) == (0, True)
    rows = json.loads(shop.init("--from-makefile", "--json").stdout)["rows"]
    assert rows[0]["command"].startswith("invoke docker-build")


def test_data_that_a_makefile_mounts_is_kept_by_the_first_run(make: Make) -> None:
    shop = make("FROM x\nEXPOSE 80\nVOLUME /data\n")
    shop.write("Makefile", "run:\n\tdocker build -t shop .\n\tdocker run -v $(PWD)/d:/data shop\n")
    done = shop.init("--yes")
    assert "docker-run --persistent\n" in done.stdout
    found = tomllib.loads((shop.root / "buildlib.toml").read_text("utf-8"))
    assert found["run"] == {"data-path": "/data", "data-dir": "d"}


def test_doctor_checks_the_machine_of_a_repository_without_a_configuration(make: Make) -> None:
    shop = make()
    done = shop.invoke(f"--search-root={shop.env['HOME']}", "doctor")
    assert done.returncode == 2
    assert "  ok         python " in done.stdout
    assert "buildlib init writes one" in done.stderr


def test_images_that_are_configured_are_not_left_out(make: Make) -> None:
    shop = make("FROM base:local\nEXPOSE 80\n")
    shop.write("base/Dockerfile", "FROM scratch\n")
    shop.write(
        "buildlib.toml",
        'image = "shop"\n[images.base]\ncontext = "base"\n[images.app]\nsmoke = { port = 80 }\n',
    )
    done = shop.init("--yes")
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    assert "docker-run --only app\n" in done.stdout


def test_the_page_shows_what_is_written(make: Make) -> None:
    page = (ROOT / "docs" / "adopting.md").read_text(encoding="utf-8")
    found = re.findall(r"^```(Dockerfile|toml)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    # The first of each kind.
    blocks = dict(reversed(found))
    shop = make(blocks["Dockerfile"], remote="git@github.com:you/thing.git")
    shop.init("--yes")
    written = (shop.root / "buildlib.toml").read_text("utf-8").splitlines(keepends=True)
    # Where it is installed, it names its documentation and its schema.
    head = [line for line in written[:2] if "://" in line]
    assert "".join(written[len(head) :]) == blocks["toml"]


def test_the_prefix_of_all_version_tags_is_that_of_the_image(make: Make) -> None:
    shop = make(remote="git@github.com:You/Shop.git")
    shop.git("add", "--all")
    shop.git("commit", "--quiet", "--message", "first")
    for tag in ("shop-1.9.0", "shop-1.10.0", "stable", "shop-1.10.0rc1"):
        shop.git("tag", tag)
    assert "git tag shop-1.10.0\n" in shop.init().stdout
    shop.init("--yes")
    assert tomllib.loads((shop.root / "buildlib.toml").read_text("utf-8"))["tag-prefix"] == "shop-"
    (shop.root / "buildlib.toml").unlink()
    # Now there are two kinds of versions.
    shop.git("tag", "web/v1.0.0")
    assert "tag-prefix" not in shop.init().stdout


def test_of_a_directory_of_dockerfiles_the_plain_one_is_taken(make: Make) -> None:
    shop = make(dockerfile="")
    shop.write("docker/dockerfile", "FROM scratch\n")
    shop.write("docker/base.dockerfile", "FROM scratch\n")
    assert '+dockerfile = "docker/dockerfile"' in shop.init().stdout.splitlines()


def test_dockerfiles_that_nothing_builds_are_left_out_if_another_is_built(make: Make) -> None:
    shop = make(dockerfile="")
    shop.write("hack/lint.Dockerfile", "FROM scratch\n")
    shop.write("hack/fmt.Dockerfile", "FROM scratch\n")
    shop.write("src/Dockerfile", "FROM scratch\n")
    shop.write("src/Dockerfile.rego", "package docker\n")
    done = shop.init()
    assert "there are 2 Dockerfiles: hack/fmt.Dockerfile, hack/lint" in done.stderr
    assert done.returncode == 2
    shop.write("Makefile", "image:\n\tdocker build -t acme/shop src\n")
    done = shop.init()
    assert done.returncode == 0
    assert '+context = "src"' in done.stdout.splitlines()
    assert "note: left out: hack/fmt.Dockerfile, hack/lint.Dockerfile; " in done.stdout


def test_an_image_of_files_alone_is_not_run(make: Make) -> None:
    shop = make("FROM scratch\nCOPY a /\n")
    done = shop.init("--yes")
    assert "\nnext:\n  invoke docker-build\n  invoke docker-smoke\n" in done.stdout
    # There is neither hadolint nor a scanner here.
    assert 'gates = ["smoke", "policy", "size"]' in done.stdout
    assert 'rule = "hadolint"' in done.stdout
