"""Tasks of a project with several images, as far as no engine is needed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TASKS, Checkout, git
from gitscript import commit_all

from buildlib.tasks.collection import TASKS as TASKS_OF_OURS
from buildlib.tasks.options import fresh

CONFIG = """\
image = "shop"

[registries.main]
repository = "127.0.0.1:9/shop"

[images.web]
context = "web"
base-images = { "runtime" = "image:base" }

[images.api]
context = "api"
tag-prefix = "api/v"

[images.base]
context = "base"
"""
FILES = {
    "tasks.py": TASKS,
    "buildlib.toml": CONFIG,
    ".gitignore": "__pycache__/\n",
    "web/Dockerfile": "FROM runtime\nCOPY page /\n",
    "web/page": "page\n",
    "api/Dockerfile": "FROM scratch\nCOPY program /\n",
    "api/program": "program\n",
    "base/Dockerfile": "FROM scratch\nCOPY shared /\n",
    "base/shared": "shared\n",
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with git and without docker: nothing is asked of it."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("git", "sh"):
        program = shutil.which(name)
        assert program
        (folder / name).symlink_to(program)
    return folder


@pytest.fixture
def shop(tmp_path: Path, programs: Path) -> Checkout:
    return make_shop(tmp_path / "shop", programs)


def make_shop(root: Path, programs: Path, config: str = CONFIG) -> Checkout:
    for name, text in {**FILES, "buildlib.toml": config}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    commit_all(root, "v1.2.3", "api/v4.5.6")
    env = {
        "BUILDLIB_BASE_IMAGES": "",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "PATH": str(programs),
        "HOME": str(root.parent),
    }
    return Checkout(root, "shop", env)


def _headings(text: str) -> list[str]:
    return re.findall(r"^# (\w+)$", text, re.MULTILINE)


def test_a_task_works_on_one_image_after_the_other(shop: Checkout) -> None:
    done = shop.invoke("version")
    assert (done.returncode, done.stdout) == (
        0,
        "# base\n1.2.3\n# web\n1.2.3\n# api\n4.5.6\n",
    )
    # What a script reads has no heading.
    assert shop.invoke("version", "--only", "api").stdout == "4.5.6\n"
    assert shop.invoke("version", "--only", "api", "--only", "web").stdout == (
        "# web\n1.2.3\n# api\n4.5.6\n"
    )


def test_json_has_each_image_s_answer_by_its_name(shop: Checkout) -> None:
    found = json.loads(shop.invoke("version", "--json").stdout)
    assert list(found) == ["images"]
    assert {name: one["version"] for name, one in found["images"].items()} == {
        "base": "1.2.3",
        "web": "1.2.3",
        "api": "4.5.6",
    }
    # However many are meant.
    found = json.loads(shop.invoke("version", "--json", "--only", "api").stdout)
    assert list(found["images"]) == ["api"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("version --only wep", "there is no image 'wep'\n  did you mean web?"),
        ("docker-smoke --only healthy", "--check NAME runs only the checks of that name"),
        ("docker-smoke --image x:1", "choose one: --only base"),
        (
            "docker-run",
            "docker-run is for one image at a time\n  there are base, web, api; containers",
        ),
        ("docker-logs", "choose one: --only base"),
        ("docker-verify x:1", "docker-verify is for one image at a time"),
        ("docker-policy --image x --dry-run", "--image is for one image at a time"),
        ("docker-build --dry-run --tag x:1", "--tag with a repository is for one image at a time"),
        ("docker-build --dry-run --output type=oci,dest=x", "--output with dest is for one image"),
        ("tag minor --dry-run", "tag makes a tag of one version"),
    ],
)
def test_what_is_for_one_image_asks_for_it(shop: Checkout, words: str, said: str) -> None:
    done = shop.invoke(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_images_only_is_an_error(tmp_path: Path, programs: Path) -> None:
    one = make_shop(tmp_path / "one", programs, 'image = "shop"\ncontext = "api"\n')
    done = one.invoke("version", "--only", "api")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no image 'api'" in done.stderr
    assert "no tables [images.NAME]" in done.stderr
    found = json.loads(one.invoke("version", "--only", "api", "--json").stdout)
    assert found["error"]["exit_code"] == 2


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = [sys.executable, "-m", "buildlib", "docker-build", "--dry-run", "--json"]
    done = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *words],
        cwd=gone,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["error"]["exit_code"] == done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_tag_is_made_for_the_versions_of_one_image(shop: Checkout) -> None:
    git(shop.root, "commit", "--quiet", "--allow-empty", "--message", "more")
    done = shop.invoke("tag", "minor", "--only", "api", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "api/v4.6.0" in done.stdout
    # Those that share their tags have one version.
    done = shop.invoke("tag", "minor", "--only", "web", "--only", "base", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "v1.3.0" in done.stdout


def test_one_that_fails_ends_the_task_unless_it_keeps_going(shop: Checkout) -> None:
    for name in ("base", "api"):
        (shop.root / name / "Dockerfile").unlink()
    words = ("docker-bases", "--check")
    done = shop.invoke(*words)
    assert done.returncode == 2
    assert "error: api: " not in done.stderr
    answers = json.loads(shop.invoke(*words, "--json").stdout)["images"]
    assert [answers[name]["error"]["what"] for name in ("api", "web")] == ["not begun"] * 2
    done = shop.invoke(*words, "--keep-going")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error:")] == [
        f"error: base: Dockerfile not found: {shop.root}/base/Dockerfile",
        f"error: api: Dockerfile not found: {shop.root}/api/Dockerfile",
    ]


def test_an_image_below_is_built_first_as_a_layout(shop: Checkout) -> None:
    done = shop.invoke("docker-build", "--only", "web", "--dry-run", "--output", "oci")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "docker buildx build" in line]
    assert len(lines) == 2, done.stdout
    below, above = lines
    layout = re.search(r"type=oci,rewrite-timestamp=true,tar=false,dest=(\S+/base)", below)
    assert layout
    assert "--tag" not in below
    assert f"--build-context runtime=oci-layout://{layout[1]}" in above
    assert f"{shop.root}/dist/web/web-1.2.3.oci.tar.part" in above


def test_a_publication_names_the_image_below_in_its_plan(shop: Checkout) -> None:
    done = shop.invoke(
        *("docker-publish", "--dry-run", "--json", "--only", "web"),
        *("--skip-gate", "sign", "--reason", "test"),
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)["images"]["web"]
    assert plan["archive"] == "dist/web/web-1.2.3.oci.tar"
    assert plan["targets"][0]["repository"] == "127.0.0.1:9/shop/web"
    command = plan["steps"][0]["command"]
    assert command.count("docker buildx build") == 2
    assert "runtime=oci-layout://" in command


TWO = """\
from pathlib import Path

from invoke.collection import Collection

from buildlib.tasks import collection

here = Path(__file__).parent
namespace = Collection()
namespace.add_collection(collection(here / "vote"), "vote")
namespace.add_collection(collection(here / "result"), "result")
"""


def test_two_collections_in_one_namespace_are_two_projects(tmp_path: Path, programs: Path) -> None:
    root = tmp_path / "two"
    for name in ("vote", "result"):
        (root / name).mkdir(parents=True)
        (root / name / "buildlib.toml").write_text(f'image = "{name}"\n', encoding="utf-8")
        (root / name / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    (root / "tasks.py").write_text(TWO, encoding="utf-8")
    two = Checkout(root, "two", {"PATH": str(programs), "HOME": str(root), "VERSION": "1.0.0"})
    done = two.invoke("vote.docker-build", "--dry-run", "result.docker-build", "--dry-run")
    assert done.returncode == 0, done.stderr
    built = re.findall(r"--tag (\w+):latest", done.stdout)
    assert built == ["vote", "result"]
    # One of them, twice, is still one call.
    done = two.invoke("vote.version", "vote.version")
    assert done.stdout == "1.0.0\n"


def _differs(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Return what was said of each image."""
    found = re.findall(r"^(\w+): ((?:in|out): .*)$", done.stderr, re.MULTILINE)
    return dict(found)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("api/program", "new\n", {"api": "in: api/program"}),
        ("api/README.md", "new\n", {}),
        ("api/Dockerfile", "FROM scratch\n", {"api": "in: api/Dockerfile"}),
        (
            "base/shared",
            "new\n",
            {"base": "in: base/shared", "web": "in: the image base, which it is based on"},
        ),
        (
            "buildlib.toml",
            f'{CONFIG}\n[images.new]\ncontext = "base"\n[images.api.build-args]\nX = "1"\n',
            {"api": "in: build-args in buildlib.toml", "new": "in: [images.new] is new"},
        ),
        ("buildlib.toml", f"{CONFIG}\n[images.api.run]\nport = 1\n", {}),
    ],
)
def test_changed_says_of_each_image_why_it_is_built(
    shop: Checkout, path: str, text: str, expected: dict[str, str]
) -> None:
    (shop.root / path).write_text(text, encoding="utf-8")
    done = shop.invoke("docker-build", "--changed", "v1.2.3", "--dry-run")
    assert done.returncode == 0, done.stderr
    commit = git(shop.root, "rev-parse", "--short=7", "v1.2.3")
    out = f"out: nothing differs from v1.2.3 ({commit})"
    assert _differs(done) == {**dict.fromkeys(("base", "web", "api"), out), **expected}
    files = re.findall(rf"--file {shop.root}/(\w+)/Dockerfile.* --tag", done.stdout)
    # The new image has base's Dockerfile.
    assert set(files) == {"base" if name == "new" else name for name in expected}


def test_what_is_kept_out_of_the_context_changes_nothing(shop: Checkout) -> None:
    (shop.root / "web" / "Dockerfile").write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    (shop.root / "web" / ".dockerignore").write_text("*.md\n", encoding="utf-8")
    git(shop.root, "add", "--all")
    git(shop.root, "commit", "--quiet", "--message", "copy all")
    (shop.root / "web" / "notes.md").write_text("x\n", encoding="utf-8")
    done = shop.invoke("docker-build", "--changed", "HEAD", "--dry-run", "--only", "web")
    assert _differs(done)["web"].startswith("out: ")
    (shop.root / "web" / "script").write_text("x\n", encoding="utf-8")
    done = shop.invoke("docker-build", "--changed", "HEAD", "--dry-run", "--only", "web")
    assert _differs(done)["web"] == "in: web/script"


def test_changed_compares_with_the_branch_or_the_last_tag(shop: Checkout) -> None:
    done = shop.invoke("docker-build", "--changed", "--dry-run")
    assert done.returncode == 2
    assert "there is nothing to compare with" in done.stderr
    (shop.root / "api" / "program").write_text("new\n", encoding="utf-8")
    git(shop.root, "commit", "--quiet", "--all", "--message", "more")
    done = shop.invoke("docker-build", "--dry-run", "--changed")
    assert _differs(done)["web"].startswith("out: nothing differs from ")
    assert _differs(done)["api"] == "in: api/program"
    git(shop.root, "switch", "--quiet", "--create", "topic")
    (shop.root / "web" / "page").write_text("new\n", encoding="utf-8")
    git(shop.root, "commit", "--quiet", "--all", "--message", "topic")
    found = json.loads(shop.invoke("docker-build", "--changed", "--dry-run", "--json").stdout)
    assert found["changed"]["compared_with"].startswith("main (")
    assert found["changed"]["images"] == {"api": [], "base": [], "web": ["web/page"]}
    assert list(found["images"]) == ["web"]
    assert "docker buildx build" in found["images"]["web"]["commands"][0]


def test_changed_prefers_what_the_remote_has(shop: Checkout) -> None:
    git(shop.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    (shop.root / "api" / "program").write_text("new\n", encoding="utf-8")
    git(shop.root, "commit", "--quiet", "--all", "--message", "not pushed")
    done = shop.invoke("docker-build", "--dry-run", "--changed")
    assert "differs from origin/main (" in _differs(done)["web"]
    git(shop.root, "update-ref", "-d", "refs/remotes/origin/main")
    git(shop.root, "branch", "--quiet", "--move", "trunk")
    git(shop.root, "tag", "--delete", "v1.2.3", "api/v4.5.6")
    done = shop.invoke("docker-build", "--dry-run", "--changed")
    assert "the default branch is not known here" in done.stderr


def test_changed_is_for_a_project_of_one_image_too(tmp_path: Path, programs: Path) -> None:
    one = make_shop(tmp_path / "one", programs, 'image = "shop"\ncontext = "api"\n')
    words = ("docker-build", "--changed", "HEAD", "--dry-run")
    done = one.invoke(*words, "--platform", "linux/amd64")
    assert (done.returncode, done.stdout) == (0, "")
    assert _differs(done)["shop"].startswith("out: ")
    done = one.invoke("docker-smoke", "--changed", "HEAD", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    done = one.invoke("docker-smoke", "--changed", "HEAD", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"images": {}})
    done = one.invoke("docker-smoke", "--changed", "nothing", "--json")
    assert json.loads(done.stdout)["error"]["exit_code"] == done.returncode == 2
    done = one.invoke("docker-build", "--changed", "nothing", "--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no commit 'nothing'" in done.stderr
    assert "shallow" not in done.stderr


@pytest.mark.parametrize("before", ["tool = 1\n", f"x = {'9' * 5000}\n"])
def test_a_configuration_that_was_invalid_is_new(
    tmp_path: Path, programs: Path, before: str
) -> None:
    one = make_shop(tmp_path / "one", programs)
    (one.root / "buildlib.toml").unlink()
    (one.root / "pyproject.toml").write_text(before, encoding="utf-8")
    git(one.root, "add", "--all")
    git(one.root, "commit", "--quiet", "--message", "invalid")
    text = '[tool.buildlib]\nimage = "shop"\ncontext = "api"\n'
    (one.root / "pyproject.toml").write_text(text, encoding="utf-8")
    done = one.invoke("docker-smoke", "--changed", "HEAD", "--dry-run")
    assert "pyproject.toml is new" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["version", "config", "docker-build --dry-run"])
def test_a_mistake_in_one_image_is_found_before_another_is_worked_on(
    shop: Checkout, words: str
) -> None:
    config = shop.root / "buildlib.toml"
    text = config.read_text("utf-8") + "[images.api.run]\ntypo = 1\n"
    config.write_text(text, encoding="utf-8")
    done = shop.invoke(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: api: unknown configuration key run.typo\n")
    assert done.stderr.count("error: ") == 1


def test_all_images_of_a_dry_run_are_one_script(shop: Checkout) -> None:
    done = shop.invoke("docker-build", "--dry-run", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    assert _headings(done.stdout) == ["base", "web", "api"]
    assert shop.invoke("docker-build", "--dry-run", "--jobs", "0").returncode == 2


def test_one_that_can_not_be_built_ends_the_task_unless_it_keeps_going(shop: Checkout) -> None:
    (shop.root / "base" / "shared").unlink()
    words = ("docker-build", "--dry-run")
    done = shop.invoke(*words)
    assert (done.returncode, _headings(done.stdout)) == (2, [])
    assert done.stderr.startswith("error: base: the Dockerfile copies shared")
    done = shop.invoke(*words, "--keep-going")
    assert (done.returncode, _headings(done.stdout)) == (2, ["api"])
    assert "web: it is not built, as base failed" in done.stderr
    found = json.loads(shop.invoke(*words, "--keep-going", "--json").stdout)["images"]
    assert [*found] == ["api", "base", "web"]
    assert "error" in found["base"]
    assert "commands" in found["api"]


def test_every_task_says_what_it_does_with_several_images() -> None:
    # A new task belongs here, and where it is not for one image after the other, to _SCOPES.
    each = {
        *("binary", "clean", "config", "docker-bases", "docker-clean", "docker-login", "version"),
        *("docker-policy", "docker-publish", "docker-rehearse", "docker-reproduce", "docker-sbom"),
        *("docker-scan", "docker-size", "docker-smoke", "docker-status", "docker-stop", "doctor"),
        "docker-why",
        "docker-diff",
    }
    project = {"docker-builder", "init", "completion"}
    others = {"docker-build", "bake", "tag", *project}
    page = (ROOT / "docs" / "monorepo.md").read_text(encoding="utf-8")
    sentence = re.search(r"\n\n(`docker-run`, .*?) are for one image", page, re.DOTALL)
    assert sentence
    one = set(re.findall(r"`([\w-]+)`", sentence[1]))
    assert {task.name.replace("_", "-") for task in TASKS_OF_OURS.values()} == each | one | others
    for task in TASKS_OF_OURS.values():
        options = {argument.name for argument in fresh(task).get_arguments()}
        name = task.name.replace("_", "-")
        assert ("only" in options) == (name not in project)
        assert ("keep_going" in options) == (name in each or name == "docker-build")
