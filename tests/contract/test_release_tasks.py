"""`invoke version` and `invoke tag`, as a release manager runs them, on real repositories."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Checkout, git
from gitscript import begin, commit_all, run_word

Make = Callable[..., Checkout]
PERSON = {
    "GIT_AUTHOR_NAME": "T",
    "GIT_AUTHOR_EMAIL": "t@example.org",
    "GIT_COMMITTER_NAME": "T",
    "GIT_COMMITTER_EMAIL": "t@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def _repository(
    make: Make, script: str = "", *, config: str = "", dockerfile: str = "FROM scratch\n"
) -> Checkout:
    made = make(dockerfile, config)
    checkout = Checkout(made.root, made.image, PERSON)
    (checkout.root / "file").write_text("x", encoding="utf-8")
    commit_all(checkout.root)
    for word in script.split():
        run_word(checkout.root, word)
    return checkout


def _with_remote(checkout: Checkout, folder: Path) -> str:
    """Give the checkout an origin that has everything, and return its path."""
    path = str(folder / "origin.git")
    git(folder, "clone", "--quiet", "--bare", str(checkout.root), path)
    checkout.git("remote", "add", "origin", path)
    checkout.git("fetch", "--quiet", "origin")
    return path


def test_json_has_the_tags_and_the_reasons(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "b:old c t:v1.9.0 co:main c t:v2.0.0 co:old")
    found = json.loads(checkout.invoke("version", "--json").stdout)
    expected = {
        "version": "1.9.0",
        "kind": "release",
        "tags": ["1.9.0", "latest"],
        "local_tags": ["1.9.0", "latest"],
        "published_tags": ["1.9.0", "1.9", "1"],
        "held_back": {"latest": "2.0.0 is higher"},
        "mapped": {},
        "refused": [],
        "registries": {},
    }
    assert found == found | expected


def test_json_shows_what_was_mapped_and_what_is_refused(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v1.0.0+fork")
    found = json.loads(checkout.invoke("version", "--json").stdout)
    assert found["mapped"] == {"1.0.0+fork": "1.0.0-fork"}
    assert found["local_tags"] == ["1.0.0-fork", "latest"]
    run_word(checkout.root, "new:notes")
    found = json.loads(checkout.invoke("version", "--json").stdout)
    assert found["published_tags"] == []
    (refusal,) = found["refused"]
    assert "notes" in refusal


REGISTRIES = """
[registries.one]
repository = "one.example/x"
[registries.two]
repository = "two.example/x"
tags = { rules = ["{version}"] }
"""


def test_each_registry_has_its_tags(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v1.2.3", config=REGISTRIES)
    found = json.loads(checkout.invoke("version", "--json").stdout)["registries"]
    assert found["one"]["published_tags"] == ["1.2.3", "1.2", "1", "latest"]
    assert found["two"]["published_tags"] == ["1.2.3"]
    assert found["two"]["repository"] == "two.example/x"
    text = checkout.invoke("version", "--explain").stdout
    assert "Published as a release to two.example/x it gets 1.2.3." in text
    shown = json.loads(checkout.invoke("config", "--json").stdout)
    assert shown["registries"]["value"][1]["tags"][0]["template"] == "{version}"
    assert shown["tags"]["value"][3]["template"] == "latest"


EXPLAINED = {
    "a backport": (
        "b:old c t:v1.9.0 co:main c t:v2.0.0 co:old",
        ["The version is 1.9.0.", "has the tag v1.9.0", "It does not get latest: 2.0.0 is higher."],
    ),
    "two tags": ("t:v1.0.0 t:v1.0.1", ["The highest of its tags counts; v1.0.0 does not."]),
    "a snapshot": (
        "t:v1.2.3 c",
        ["1 commit after the tag v1.2.3", "a snapshot, on the way to 1.2.4."],
    ),
    "no tag": ("", ["no version tag is reachable from it.", "It can't be published:"]),
    "a changed tag": ("t:v1.2.3 edit", ["has the tag v1.2.3, but tracked files were changed"]),
    "a mapped tag": ("t:v1.0.0+a", ["1.0.0+a is not a legal tag, so it is written 1.0.0-a."]),
    "a prerelease": (
        "t:v1.0.0-rc.1",
        ["Published as a prerelease it gets 1.0.0-rc.1.", "latest: 1.0.0-rc.1 is a prerelease"],
    ),
    "local tags": ("t:v1.0.0", ["A local build is tagged 1.0.0 and latest."]),
}


@pytest.mark.parametrize(("script", "sentences"), EXPLAINED.values(), ids=EXPLAINED)
def test_explain_says_it_in_sentences(
    make_checkout: Make, script: str, sentences: list[str]
) -> None:
    done = _repository(make_checkout, script).invoke("version", "--explain")
    assert done.returncode == 0
    assert [sentence for sentence in sentences if sentence not in done.stdout] == []


def test_explain_tells_of_an_override_and_of_no_repository(make_checkout: Make) -> None:
    text = make_checkout().invoke("version", "--explain", VERSION="v9.8.7").stdout
    assert "It was given, by --version or by VERSION" in text
    assert "git reports nothing: not a git repository." in text


def test_published_prints_the_tags_one_a_line(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v0.3.1")
    assert checkout.invoke("version", "--published").stdout == "0.3.1\n0.3\nlatest\n"
    run_word(checkout.root, "c")
    short = checkout.git("rev-parse", "--short", "HEAD")
    edge = checkout.invoke("version", "--published", "--edge")
    assert edge.stdout == f"edge\nsha-{short}\n"
    snapshot = checkout.invoke("version", "--published", "--snapshot")
    assert snapshot.stdout == f"0.3.2-SNAPSHOT-{short}\n"


REFUSED = {
    "not on a tag": ("t:v1.2.3 c2", {}, 2, ["the nearest is v1.2.3, 2 commits back"]),
    "changed files, all of them": ("t:v1.2.3 edit new:a", {}, 2, ["  file\n", "  a\n"]),
    "a collision": ("t:v1.0.0+a c t:v1.0.0-a", {}, 2, ["two versions map to the same image tag"]),
    "no git": ("t:v1.2.3", {"PATH": "/nowhere"}, 3, ["git is not installed"]),
}


@pytest.mark.parametrize(("script", "env", "code", "parts"), REFUSED.values(), ids=REFUSED)
def test_published_refuses(
    make_checkout: Make, script: str, env: dict[str, str], code: int, parts: list[str]
) -> None:
    done = _repository(make_checkout, script).invoke("version", "--published", **env)
    assert (done.returncode, done.stdout) == (code, "")
    assert [part for part in parts if part not in done.stderr] == []
    assert "Traceback" not in done.stderr


def test_published_refuses_without_a_repository_and_without_a_commit(make_checkout: Make) -> None:
    checkout = make_checkout()
    done = checkout.invoke("version", "--published")
    assert done.returncode == 2
    assert "not a git repository" in done.stderr
    begin(checkout.root)
    done = checkout.invoke("version", "--published")
    assert done.returncode == 2
    assert "no commit yet" in done.stderr


def test_a_shallow_clone_holds_the_floating_tags_until_it_is_whole(
    make_checkout: Make, tmp_path: Path
) -> None:
    whole = _repository(make_checkout, "t:v1.0.0 c t:v1.1.0")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{whole.root}", "clone")
    shallow = Checkout(tmp_path / "clone", whole.image, PERSON)
    found = json.loads(shallow.invoke("version", "--json").stdout)
    assert found["published_tags"] == ["1.1.0"]
    assert "shallow" in found["held_back"]["latest"]
    refused = shallow.invoke("version", "--next", "patch")
    assert refused.returncode == 2
    assert "--unshallow" in refused.stderr
    done = shallow.invoke("version", "--next", "patch", "--unshallow")
    assert (done.returncode, done.stdout) == (0, "v1.1.1\n")
    again = shallow.invoke("version", "--published", "--unshallow")
    assert again.stdout.split() == ["1.1.0", "1.1", "1", "latest"]


def test_a_shallow_clone_without_a_tag_says_what_to_do(make_checkout: Make, tmp_path: Path) -> None:
    whole = _repository(make_checkout, "t:v1.0.0 c")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{whole.root}", "clone")
    shallow = Checkout(tmp_path / "clone", whole.image, PERSON)
    done = shallow.invoke("version")
    assert done.stdout.startswith("0.0.1-SNAPSHOT-")
    assert "git fetch --unshallow --tags" in done.stderr
    done = shallow.invoke("version", "--unshallow")
    assert done.stdout.startswith("1.0.1-SNAPSHOT-")
    assert done.stderr == ""


def test_a_remote_that_does_not_answer_exits_3(make_checkout: Make, tmp_path: Path) -> None:
    whole = _repository(make_checkout, "c")
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{whole.root}", "clone")
    git(tmp_path / "clone", "remote", "set-url", "origin", str(tmp_path / "gone"))
    done = Checkout(tmp_path / "clone", whole.image, PERSON).invoke("version", "--unshallow")
    assert done.returncode == 3
    assert "can't be fetched from origin" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["version", "--json", "--explain"],
        ["version", "--snapshot", "--edge"],
        ["version", "--next", "pach"],
        ["tag", "pach"],
        ["tag", "v1"],
        ["tag", "v1.0.0", "--push", "--remote", "nobody"],
        ["tag", "v1.0.0", "--push", "--remote=--upload-pack=x"],
    ],
    ids=" ".join,
)
def test_questions_that_make_no_sense_exit_2(make_checkout: Make, words: list[str]) -> None:
    checkout = _repository(make_checkout)
    done = checkout.invoke(*words)
    assert (done.returncode, bool(done.stdout)) == (2, "--json" in words)
    assert "Traceback" not in done.stderr
    assert checkout.git("tag") == ""


def test_a_remote_that_is_not_configured_is_named(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout)
    _with_remote(checkout, tmp_path)
    done = checkout.invoke("tag", "v1.0.0", "--push", "--remote", "upstream")
    assert done.returncode == 2
    assert "no remote is called 'upstream'\n  known: origin" in done.stderr


@pytest.mark.parametrize("words", [["version", "--next", "patch"], ["tag", "patch", "--push"]])
def test_without_a_repository_no_tag_is_next(make_checkout: Make, words: list[str]) -> None:
    done = make_checkout().invoke(*words)
    assert done.returncode == 2
    assert "nothing to release from: not a git repository" in done.stderr


def test_next_names_the_tag_to_make(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v1.2.8 b:old c co:main c t:v1.3.0 co:old")
    assert checkout.invoke("version", "--next", "patch").stdout == "v1.2.9\n"
    assert checkout.invoke("version", "--next", "minor").stdout == "v1.4.0\n"
    assert checkout.invoke("version", "--next", "prerelease").stdout == "v1.2.9-rc.1\n"


def test_tag_makes_an_annotated_tag_and_pushes_nothing(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout, "t:v1.2.3 c")
    origin = _with_remote(checkout, tmp_path)
    done = checkout.invoke("tag", "minor", "--message", "First line\n\n# notes")
    assert (done.returncode, done.stdout) == (0, "v1.3.0\n")
    assert checkout.git("cat-file", "-t", "v1.3.0") == "tag"
    text = checkout.git("for-each-ref", "--format=%(contents)", "refs/tags/v1.3.0")
    assert text == "First line\n\n# notes"
    assert checkout.invoke("version").stdout == "1.3.0\n"
    assert git(Path(origin), "tag") == "v1.2.3"


def test_tag_takes_a_name_without_its_prefix(make_checkout: Make) -> None:
    checkout = _repository(make_checkout)
    assert checkout.invoke("tag", "1.0.0").stdout == "v1.0.0\n"
    assert checkout.git("tag", "--points-at=HEAD") == "v1.0.0"


def test_a_dry_run_prints_the_commands_and_makes_nothing(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = _repository(make_checkout, "t:v1.2.3 c")
    _with_remote(checkout, tmp_path)
    done = checkout.invoke("tag", "v1.2.4", "--push", "--dry-run")
    assert done.returncode == 0
    assert "v1.2.4" not in checkout.git("tag").split()
    # The lines are what a shell takes.
    subprocess.run(
        ["sh", "-e"],
        input=done.stdout,
        cwd=checkout.root,
        env={**os.environ, **PERSON},
        text=True,
        check=True,
        capture_output=True,
    )
    assert "v1.2.4" in git(tmp_path / "origin.git", "tag").split()


def test_push_pushes_the_tag_and_only_that(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout, "c")
    origin = _with_remote(checkout, tmp_path)
    run_word(checkout.root, "t:nightly")
    done = checkout.invoke("tag", "v1.0.0", "--push")
    assert done.returncode == 0
    assert git(Path(origin), "tag") == "v1.0.0"


def test_push_wants_the_commit_to_be_there_first(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout)
    _with_remote(checkout, tmp_path)
    run_word(checkout.root, "c")
    done = checkout.invoke("tag", "v1.0.0", "--push")
    assert done.returncode == 2
    assert "origin does not have this commit" in done.stderr
    assert "git push origin main" in done.stderr
    assert checkout.git("tag") == ""


def test_a_tag_that_only_the_remote_has_is_there_too(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout)
    origin = _with_remote(checkout, tmp_path)
    git(Path(origin), "tag", "v1.0.0")
    done = checkout.invoke("tag", "v1.0.0", "--push")
    assert done.returncode == 2
    assert "origin has a tag v1.0.0 already" in done.stderr
    assert checkout.git("tag") == ""


def test_a_push_that_fails_leaves_the_tag_and_says_how_to_go_on(
    make_checkout: Make, tmp_path: Path
) -> None:
    checkout = _repository(make_checkout)
    origin = _with_remote(checkout, tmp_path)
    hook = Path(origin) / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no tags today >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    done = checkout.invoke("tag", "v1.0.0", "--push")
    assert done.returncode == 3
    assert "no tags today" in done.stderr
    assert "git push origin refs/tags/v1.0.0" in done.stderr
    assert checkout.git("tag") == "v1.0.0"


def test_the_default_branch_is_the_remotes_own(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout, "b:trunk c")
    _with_remote(checkout, tmp_path)
    checkout.git("remote", "set-head", "origin", "trunk")
    assert checkout.invoke("tag", "v1.0.0").returncode == 0
    run_word(checkout.root, "co:main")
    run_word(checkout.root, "c")
    done = checkout.invoke("tag", "v1.0.1")
    assert done.returncode == 2
    assert "HEAD is on main, and releases are made from trunk" in done.stderr


def test_release_branches_are_configured(make_checkout: Make) -> None:
    config = 'release-branches = ["main", "release/*"]\n'
    checkout = _repository(make_checkout, "t:v1.2.3 b:release/1.2 c", config=config)
    assert checkout.invoke("tag", "v1.2.4").returncode == 0
    run_word(checkout.root, "b:feature")
    run_word(checkout.root, "c")
    done = checkout.invoke("tag", "v1.2.5")
    assert done.returncode == 2
    assert "main, release/*" in done.stderr


UNPINNED = "FROM alpine:3.22\n"
HERE = '[registries.one]\nrepository = "127.0.0.1:5000/x"\n'


def test_bases_that_publishing_would_refuse_forbid_the_tag(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, config=REGISTRIES, dockerfile=UNPINNED)
    done = checkout.invoke("tag", "v1.0.0")
    assert done.returncode == 2
    assert "not pinned: alpine:3.22" in done.stderr
    assert "docker-bases --update" in done.stderr
    assert checkout.git("tag") == ""
    checkout.dockerfile(f"FROM alpine:3.22@sha256:{'0' * 64}\n")
    checkout.git("commit", "--quiet", "--all", "--message", "pinned")
    done = checkout.invoke("tag", "v1.0.0")
    assert done.returncode == 0
    assert "warning: the image has no label for: description, licenses, source" in done.stderr


@pytest.mark.parametrize("config", ["", HERE], ids=["no registry", "a test release"])
def test_where_nothing_becomes_public_a_tag_may_stand_on_any_base(
    make_checkout: Make, config: str
) -> None:
    checkout = _repository(make_checkout, config=config, dockerfile=UNPINNED)
    assert checkout.invoke("tag", "v1.0.0").returncode == 0


def test_everything_that_forbids_a_tag_is_told_at_once(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v1.2.3 b:feature c edit new:a")
    done = checkout.invoke("tag", "v1.0.0")
    assert done.returncode == 2
    for part in ("not committed", "does not track", "HEAD is on feature", "out of order"):
        assert part in done.stderr
    assert checkout.git("tag") == "v1.2.3"


SIGNER = """\
#!/bin/sh
cat > "{folder}/signed"
echo "$@" > "{folder}/arguments"
printf '\\n[GNUPG:] SIG_CREATED D 1 8 00 0 0\\n' >&2
printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nAAAA\\n-----END PGP SIGNATURE-----\\n'
"""


@pytest.mark.parametrize("wanted", ["true", "false"])
def test_git_signs_where_it_is_configured_to(
    make_checkout: Make, tmp_path: Path, wanted: str
) -> None:
    checkout = _repository(make_checkout)
    signer = tmp_path / "signer"
    signer.write_text(SIGNER.format(folder=tmp_path), encoding="utf-8")
    signer.chmod(0o755)
    for key, value in (
        ("gpg.program", str(signer)), ("user.signingKey", "KEY"), ("tag.gpgSign", wanted)
    ):  # fmt: skip
        checkout.git("config", key, value)
    assert checkout.invoke("tag", "v1.0.0").returncode == 0
    signed = "BEGIN PGP SIGNATURE" in checkout.git("cat-file", "tag", "v1.0.0")
    assert signed == (wanted == "true")
    if signed:
        assert "tag v1.0.0" in (tmp_path / "signed").read_text(encoding="utf-8")
        assert "KEY" in (tmp_path / "arguments").read_text(encoding="utf-8")


def test_without_an_identity_git_says_so(make_checkout: Make, tmp_path: Path) -> None:
    checkout = _repository(make_checkout)
    checkout.git("config", "user.useConfigOnly", "true")
    nobody = {name: None for name in PERSON if name.endswith(("NAME", "EMAIL"))}
    done = checkout.invoke("tag", "v1.0.0", **nobody, HOME=str(tmp_path))
    assert done.returncode == 3
    assert "git tag failed" in done.stderr
    assert "user.email" in done.stderr
    assert checkout.git("tag") == ""


ODD = ["with blank", "quo'te\"", "new\nline", "ünï", "-dash"]


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", ODD)
def test_a_repository_at_an_odd_path_is_tagged(make_checkout: Make, name: str) -> None:
    made = make_checkout(folder=name)
    checkout = Checkout(made.root, made.image, PERSON)
    commit_all(checkout.root)
    assert checkout.invoke("tag", "v1.0.0").stdout == "v1.0.0\n"
    assert checkout.invoke("version", "--published").stdout.split()[0] == "1.0.0"


@pytest.mark.parametrize("kind", ["json", "explain", "published"])
def test_a_file_whose_name_is_no_text_is_named_all_the_same(make_checkout: Make, kind: str) -> None:
    checkout = _repository(make_checkout, "t:v1.0.0")
    (checkout.root / os.fsdecode(b"\xff\x1b")).write_text("x", encoding="utf-8")
    done = checkout.invoke("version", f"--{kind}")
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "does not track" in done.stdout + done.stderr
    assert done.returncode == (2 if kind == "published" else 0)


def test_a_second_release_of_one_commit_is_warned_of(make_checkout: Make) -> None:
    checkout = _repository(make_checkout, "t:v0.1.0-rc.1")
    first = checkout.invoke("tag", "minor")
    assert (first.returncode, first.stdout) == (0, "v0.1.0\n")
    assert "warning" not in first.stderr
    second = checkout.invoke("tag", "minor", "--dry-run")
    assert second.returncode == 0
    assert "warning: HEAD is v0.1.0 already: two releases of one commit" in second.stderr
