"""What is released is the commit: in a real registry, beside all that is not in it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Checkout, git
from registries import Server, registry
from releases import PLAIN, UNSIGNED, Release, make_release

from buildlib.errors import GateError, InputError, ProblemsError
from buildlib.image.archive import open_archive

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]
DOCKERFILE = "FROM scratch\nARG VERSION\nCOPY . /app\nUSER 1001\n"
FILES = {
    *("app/.gitignore", "app/Dockerfile", "app/buildlib.toml", "app/tasks.py"),
    *("app/program", "app/folder/inner"),
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with registry(tmp_path_factory.mktemp("registry") / "one") as one:
        yield [one]


@pytest.fixture
def release(tmp_path: Path, servers: list[Server]) -> Iterator[Release]:
    """Return a repository that copies its whole context, beside what no commit has."""
    made = make_release(tmp_path / "repo", {"one": servers[0].host}, servers)
    (made.root / ".dockerignore").unlink()
    (made.root / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (made.root / ".gitignore").write_text("dist/\n__pycache__/\n.env\ngen/\n", encoding="utf-8")
    (made.root / "folder").mkdir()
    (made.root / "folder/inner").write_text("inner", encoding="utf-8")
    made.commit("hello", "v1.3.0")
    _litter(made.root)
    yield made
    made.forget()


def _litter(root: Path) -> None:
    for name in (".env", "dist/thing-1.0.0.oci.tar", "gen/made.js", "__pycache__/x.pyc"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("left over", encoding="utf-8")


def _hide(root: Path) -> None:
    """Change a file so that neither its time nor its size tells git."""
    git(root, "config", "core.trustctime", "false")
    # As long ago as the index has no doubt.
    os.utime(root / "program", (1_700_000_000, 1_700_000_000))
    git(root, "update-index", "--refresh")
    about = (root / "program").stat()
    (root / "program").write_text("EVIL!", encoding="utf-8")
    os.utime(root / "program", ns=(about.st_atime_ns, about.st_mtime_ns))
    # And a mode that git was told not to look at.
    git(root, "config", "core.fileMode", "false")
    (root / "folder/inner").chmod(0o4777)


def _files(archive: Path) -> dict[str, tuple[str, int]]:
    """Return every file of every platform: content, as far as it is known, and mode."""
    found = {}
    with open_archive(archive) as opened:
        for image in opened.images():
            for layer in image.layers:
                for file in opened.files(layer, contents=True):
                    if file.kind != "directory":
                        found[file.path] = (file.sha256, file.mode)
    return found


def _digest(archive: Path) -> str:
    with open_archive(archive) as opened:
        return opened.top()


@pytest.mark.toolchain
def test_the_published_image_holds_the_files_of_the_commit_alone(release: Release) -> None:
    _hide(release.root)
    assert git(release.root, "status", "--porcelain") == ""
    release.publish(UNSIGNED)
    receipt = release.receipt
    archive = release.root / receipt["archive"]
    assert release.tags[0]["1.3.0"] == receipt["digest"] == _digest(archive)
    found = _files(archive)
    assert set(found) == FILES
    clean = release.root.parent / "clone"
    git(release.root.parent, "clone", "--quiet", str(release.root), str(clean))
    git(clean, "checkout", "--quiet", "v1.3.0")
    for name in FILES:
        told = subprocess.run(
            ["sha256sum", str(clean / name.removeprefix("app/"))],
            capture_output=True,
            text=True,
            check=True,
        )
        assert found[name] == (told.stdout.split()[0], 0o644), name
    # Whoever builds the archive of that commit has the very same, from a clone as from here.
    published = receipt["digest"]
    for root, options in ((clean, {}), (release.root, {"umask": 0o077})):
        done = subprocess.run(
            release.command("docker-build", "--platform", "all", "--output", "oci", "--json"),
            cwd=root,
            env=release.env,
            capture_output=True,
            text=True,
            check=False,
            **options,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["digest"] == published


def test_what_git_hides_is_refused_before_anything(release: Release) -> None:
    root = release.root
    git(root, "update-index", "--assume-unchanged", "program")
    git(root, "update-index", "--skip-worktree", "folder/inner")
    (root / "program").write_text("EVIL!", encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        release.publish(PLAIN)
    told = [(problem.exit_code, problem.why) for problem in caught.value.problems]
    assert told == [(2, "program"), (2, "folder/inner")]
    assert release.tags == [{}]
    # An archive is what it is called after, and whoever makes it is told.
    done = release.invoke("docker-build", "--platform", "linux/amd64", "--output", "oci")
    assert done.returncode == 0, done.stderr
    told_by = "1.3.0 is built from its commit, without what differs: program, folder/inner"
    assert told_by in done.stderr
    assert set(_files(root / "dist/thing-1.3.0.oci.tar")) == FILES


def test_generated_files_are_named_in_the_configuration_and_in_the_receipt(
    release: Release,
) -> None:
    root = release.root
    config = root / "buildlib.toml"
    config.write_text(
        config.read_text("utf-8") + '[context]\ninclude = ["gen/*.js"]\n', encoding="utf-8"
    )
    release.commit("with it", "v1.4.0")
    release.publish(UNSIGNED)
    receipt = release.receipt
    found = _files(root / receipt["archive"])
    assert set(found) == FILES | {"app/gen/made.js"}
    assert receipt["included"] == {"gen/made.js": f"sha256:{found['app/gen/made.js'][0]}"}
    # Another content is another image, and no receipt goes on from one to the other.
    (root / "gen/made.js").write_text("other", encoding="utf-8")
    with pytest.raises(GateError, match=r"1\.4\.0 already exists with a different digest"):
        release.publish(UNSIGNED._replace(resume=True))
    (root / "gen/made.js").unlink()
    with pytest.raises(InputError, match="files that are not there: gen/"):
        release.publish(UNSIGNED)


def test_a_snapshot_is_the_commit_as_long_as_nothing_differs(release: Release) -> None:
    git(release.root, "tag", "--delete", "v1.3.0")
    release.publish(UNSIGNED._replace(snapshot=True))
    archive = release.root / release.receipt["archive"]
    assert set(_files(archive)) == FILES
    (release.root / "program").write_text("changed", encoding="utf-8")
    release.forget()
    release.publish(UNSIGNED._replace(snapshot=True))
    assert "app/.env" in _files(archive)
    assert release.receipt["uncommitted"].startswith("sha256:")


def test_two_builds_are_of_the_commit_where_nothing_differs(release: Release) -> None:
    (release.root / "Dockerfile").write_text(
        "FROM scratch AS files\nCOPY --chmod=0644 program /program\nFROM scratch\nUSER 1001\n",
        encoding="utf-8",
    )
    release.commit("plain", "v1.5.0")
    revision = git(release.root, "rev-parse", "HEAD")
    done = release.invoke("docker-reproduce", "--json", "--platform", "linux/amd64")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == f"commit {revision}"
    (release.root / "program").write_text("changed", encoding="utf-8")
    done = release.invoke("docker-reproduce", "--json", "--platform", "linux/amd64")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == "the work tree, which differs from the commit"
    assert "the work tree is built, which differs from the commit: program" in done.stderr


def test_a_release_does_not_take_what_was_built_before_its_commit(release: Release) -> None:
    # The same file, some years before, is in the builder's cache.
    (release.root / ".dockerignore").write_text("*\n!program\n", encoding="utf-8")
    (release.root / "program").write_text(f"of {release.root}", encoding="utf-8")
    os.utime(release.root / "program", (1_500_000_000, 1_500_000_000))
    git(release.root, "add", "--all")
    built = release.invoke("docker-build")
    assert built.returncode == 0, built.stderr
    git(release.root, "commit", "--all", "--quiet", "--message", "another")
    git(release.root, "tag", "v1.4.0")
    release.publish()
    committed = int(git(release.root, "log", "-1", "--format=%ct"))
    with open_archive(release.root / "dist/thing-1.4.0.oci.tar") as archive:
        for image in archive.images():
            times = {file.modified for layer in image.layers for file in archive.files(layer)}
            assert times == {committed}
