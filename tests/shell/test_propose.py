"""Pull requests and issues: each once, by a gh that notes what it is asked, and a real remote."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, git, load_script
from gitscript import commit_all

from buildlib.findings.finding import Level
from buildlib.findings.sarif import as_sarif
from buildlib.findings.vulnerability import Severity, Vulnerability
from buildlib.scan.report import ScanReport
from buildlib.terminal.text import to_json

SCRIPT = ROOT / "scripts" / "propose.py"
PROPOSE = load_script("propose")
# Answers with the file that is named for its first two words, and keeps what it was asked: how many
# words, each of them, and what it read, with a null character behind each.
GH = """\
#!/bin/sh
{
  printf '%s\\0' $# "$@"
  cat
  printf '\\0'
} >>"$GH_FOLDER/asked"
[ ! -e "$GH_FOLDER/fails" ] || { echo "HTTP 403: not for you" >&2; exit 1; }
[ ! -e "$GH_FOLDER/$1-$2" ] || cat "$GH_FOLDER/$1-$2"
"""
TITLE, BODY = "Update the base images", "By invoke docker-bases --update."
PULL = ("pull-request", "--branch", "automation/bases", "--title", TITLE, "--body", BODY)


@dataclass(frozen=True)
class World:
    """A checkout with a remote, and GitHub."""

    folder: Path
    env: dict[str, str]

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def git(self, *words: str, where: str = "checkout") -> str:
        argv = ["git", "-C", str(self.folder / where), *words]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def propose(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the script in this process: it keeps nothing from one time to the next."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", [str(SCRIPT), *words])
            patch.chdir(self.checkout)
            for name in os.environ.keys() | self.env.keys():
                patch.delenv(name, raising=False)
            for name, value in self.env.items():
                patch.setenv(name, value)
            code = PROPOSE.main()
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def done(self, *words: str) -> str:
        done = self.propose(*words)
        assert done.returncode == 0, done.stderr
        return done.stderr.splitlines()[-1]

    def change(self, text: str) -> None:
        (self.checkout / "Dockerfile").write_text(text, encoding="utf-8")

    def branch(self) -> str:
        """Return what the proposed branch of the remote is, or nothing."""
        listed = self.git("for-each-ref", "--format=%(objectname)", "refs/heads/automation")
        assert not listed, "the checkout gets no branch"
        return self.git(
            "for-each-ref", "--format=%(objectname)", "refs/heads/automation", where="remote.git"
        )

    def asked(self) -> list[dict[str, Any]]:
        """Return what gh was asked since the last time."""
        log = self.folder / "asked"
        words = iter(log.read_text("utf-8").split("\0")[:-1] if log.exists() else [])
        log.unlink(missing_ok=True)
        return [
            {"argv": [next(words) for _ in range(int(count))], "body": next(words)}
            for count in words
        ]

    def answer(self, name: str, answer: object) -> None:
        (self.folder / name).write_text(json.dumps(answer), encoding="utf-8")


@pytest.fixture(scope="module", name="first")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the world of each test is a copy of."""
    folder = tmp_path_factory.mktemp("first")
    gh = folder / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)
    (folder / "remote.git").mkdir()
    git(folder / "remote.git", "init", "--quiet", "--bare", "--initial-branch=main")
    checkout = folder / "checkout"
    checkout.mkdir()
    (checkout / "Dockerfile").write_text("FROM alpine:3.21\n", encoding="utf-8")
    commit_all(checkout)
    # The same in each copy.
    git(checkout, "remote", "add", "origin", "../remote.git")
    git(checkout, "push", "--quiet", "origin", "main")
    return folder


@pytest.fixture
def world(tmp_path: Path, first: Path) -> World:
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    env = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GH_FOLDER": str(tmp_path),
    }
    return World(tmp_path, env)


def _words(asked: Sequence[dict[str, Any]]) -> list[str]:
    return [" ".join(one["argv"][:2]) for one in asked]


def test_without_changes_nothing_is_proposed(world: World) -> None:
    (world.checkout / "left-over").write_text("not in git\n", encoding="utf-8")
    # As a workflow starts it.
    done = subprocess.run(
        [SCRIPT, *PULL],
        cwd=world.checkout,
        env=world.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "propose: nothing has changed\n")
    assert (world.asked(), world.branch()) == ([], "")


def test_an_exit_code_is_that_of_the_process(world: World) -> None:
    argv = [sys.executable, str(SCRIPT), "issue", "--sarif", "none"]
    done = subprocess.run(argv, cwd=world.checkout, env=world.env, capture_output=True, check=False)
    assert done.returncode == 2


def test_changes_become_a_branch_and_a_pull_request(world: World) -> None:
    world.change("FROM alpine:3.22\n")
    (world.checkout / "left-over").write_text("not in git\n", encoding="utf-8")
    world.answer("pr-list", [{"number": 3, "isCrossRepository": True}])
    assert "automation/bases is " in world.done(*PULL, "--run", "ci.yml")
    commit = world.branch()
    shown = world.git("show", "--format=%an|%B", "--name-only", commit, where="remote.git")
    assert shown.splitlines() == [f"github-actions[bot]|{TITLE}", "", BODY, "", "", "Dockerfile"]
    assert world.git("rev-parse", f"{commit}^", where="remote.git") == world.git(
        "rev-parse", "HEAD"
    )
    # Somebody's checkout is as it was, with the changes in it.
    assert world.git("status", "--porcelain").splitlines() == ["M Dockerfile", "?? left-over"]
    listed, made, started = world.asked()
    assert listed["argv"][:4] == ["pr", "list", "--head", "automation/bases"]
    assert made["argv"] == [
        *("pr", "create", "--head", "automation/bases", "--base", "main"),
        *("--title", TITLE, "--body-file", "-"),
    ]
    assert made["body"] == f"{BODY}\n"
    assert started["argv"] == ["workflow", "run", "ci.yml", "--ref", "automation/bases"]


def test_the_next_run_changes_nothing_where_nothing_is_new(world: World) -> None:
    world.change("FROM alpine:3.22\n")
    world.done(*PULL, "--run", "ci.yml")
    before = world.branch()
    world.asked()
    world.answer("pr-list", [{"number": 7, "isCrossRepository": False}])
    assert world.done(*PULL, "--run", "ci.yml").endswith("as before: 7")
    assert world.branch() == before
    assert _words(world.asked()) == ["pr list"]


def test_the_next_run_brings_the_same_pull_request_up_to_date(world: World) -> None:
    world.change("FROM alpine:3.22\n")
    world.done(*PULL)
    world.asked()
    world.answer("pr-list", [{"number": 7, "isCrossRepository": False}])
    world.change("FROM alpine:3.23\n")
    assert world.done(*PULL).endswith("new: 7")
    assert _words(world.asked()) == ["pr list"]
    shown = world.git("show", f"{world.branch()}:Dockerfile", where="remote.git")
    assert shown == "FROM alpine:3.23"
    count = world.git("rev-list", "--count", f"main..{world.branch()}", where="remote.git")
    assert count == "1"


def test_git_knows_who_commits(world: World) -> None:
    world.git("config", "user.name", "Somebody")
    world.git("config", "user.email", "somebody@example.org")
    world.change("FROM alpine:3.22\n")
    world.done(*PULL)
    shown = world.git("show", "--no-patch", "--format=%an %ae", world.branch(), where="remote.git")
    assert shown == "Somebody somebody@example.org"


def test_a_dry_run_prints_the_commands_and_does_none(world: World, tmp_path: Path) -> None:
    world.change("FROM alpine:3.22\n")
    done = world.propose(*PULL, "--run", "ci.yml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "--force-with-lease=refs/heads/automation/bases: origin " in done.stdout
    assert "$ gh pr create --head automation/bases --base main" in done.stdout
    assert f"| {BODY}\n" in done.stdout
    assert "$ gh workflow run ci.yml --ref automation/bases" in done.stdout
    sarif = _sarif(tmp_path / "scan.sarif", "CVE-2026-0001")
    done = world.propose("issue", "--sarif", sarif, "--dry-run")
    assert "| <!-- scan-finding: CVE-2026-0001 -->\n" in done.stdout
    assert (world.asked(), world.branch()) == ([], "")


def test_the_branch_that_it_is_for_is_never_replaced(world: World) -> None:
    world.change("FROM alpine:3.22\n")
    done = world.propose("pull-request", "--branch", "main", "--title", TITLE, "--body", BODY)
    assert done.returncode == 2
    assert "main would be replaced" in done.stderr
    assert world.asked() == []


def test_what_fails_is_told(world: World, tmp_path: Path) -> None:
    sarif = _sarif(tmp_path / "scan.sarif", "CVE-2026-0001")
    (tmp_path / "fails").touch()
    done = world.propose("issue", "--sarif", sarif)
    assert done.returncode == 4
    assert "propose: gh issue list … failed: HTTP 403: not for you" in done.stderr
    (tmp_path / "bin" / "gh").unlink()
    world.env["PATH"] = str(tmp_path / "bin")
    done = world.propose("issue", "--sarif", sarif)
    assert done.returncode == 3
    assert "propose: gh not found: install it" in done.stderr


# --- issues ----------------------------------------------------------------------------------


def _finding(name: str, severity: Severity, platform: str) -> Vulnerability:
    return Vulnerability(
        rule=name,
        level=Level.ERROR if severity is Severity.HIGH else Level.WARNING,
        severity=severity,
        package="qs",
        version="1.0|`@you`",
        platform=platform,
    )


def _sarif(path: Path, *names: str, mild: str = "CVE-2020-1111") -> str:
    """Write what a scan of two platforms writes that found these, and a milder one."""
    platforms = ("linux/amd64", "linux/arm64")
    bad = [_finding(name, Severity.HIGH, one) for name in names for one in platforms]
    report = ScanReport(
        image="thing:latest",
        scanner="grype",
        version="1",
        database="",
        threshold=Severity.HIGH,
        only_fixed=False,
        platforms=tuple((one, 1) for one in platforms),
        findings=(*bad, _finding(mild, Severity.LOW, platforms[0])),
    )
    path.write_text(to_json(as_sarif(report, dockerfile="Dockerfile")), encoding="utf-8")
    return str(path)


def test_new_findings_become_one_issue(world: World, tmp_path: Path) -> None:
    sarif = _sarif(tmp_path / "scan.sarif", "CVE-2026-0002", "CVE-2026-0001")
    assert "an issue for CVE-2026-0001, CVE-2026-0002" in world.done("issue", "--sarif", sarif)
    listed, label, made = world.asked()
    assert listed["argv"][:6] == ["issue", "list", "--label", "scan", "--state", "open"]
    assert label["argv"][:3] == ["label", "create", "scan"]
    assert "--force" in label["argv"]
    assert made["argv"] == [
        *("issue", "create", "--title", "Vulnerable: CVE-2026-0001 and 1 more"),
        *("--label", "scan", "--body-file", "-"),
    ]
    lines = made["body"].splitlines()
    assert lines[-2:] == [f"<!-- scan-finding: CVE-2026-000{number} -->" for number in (1, 2)]
    row = "| `CVE-2026-0001` | `linux/amd64: qs 1.0/'@you': no fix` |"
    assert row in lines
    assert row.replace("amd64", "arm64") in lines
    assert "CVE-2020-1111" not in made["body"]


def test_the_next_night_opens_no_second_issue(world: World, tmp_path: Path) -> None:
    sarif = _sarif(tmp_path / "scan.sarif", "CVE-2026-0001")
    world.done("issue", "--sarif", sarif)
    body = world.asked()[-1]["body"]
    # As GitHub gives it back after somebody edited it there.
    world.answer("issue-list", [{"body": f"Sorted.\r\n{body}".replace("\n", "\r\n")}])
    last = world.done("issue", "--sarif", sarif)
    assert last == "propose: open issues name all of CVE-2026-0001"
    assert _words(world.asked()) == ["issue list"]


def test_only_what_is_new_is_in_the_second_issue(world: World, tmp_path: Path) -> None:
    # Talk about a finding does not name it; the hidden line does.
    talk = "CVE-2026-0003 as well? `<!-- scan-finding: CVE-2026-0003 -->`"
    world.answer("issue-list", [{"body": f"<!-- scan-finding: CVE-2026-0001 -->\n{talk}"}])
    names = [f"CVE-2026-000{number}" for number in (1, 2, 3)]
    world.done("issue", "--sarif", _sarif(tmp_path / "scan.sarif", *names))
    made = world.asked()[-1]
    assert "Vulnerable: CVE-2026-0002 and 1 more" in made["argv"]
    assert "CVE-2026-0001" not in made["body"]


def test_without_findings_nobody_is_asked(world: World, tmp_path: Path) -> None:
    sarif = _sarif(tmp_path / "scan.sarif")
    assert world.done("issue", "--sarif", sarif) == "propose: nothing was found"
    assert world.asked() == []


def test_what_is_ignored_for_a_time_is_no_finding(world: World, tmp_path: Path) -> None:
    path = Path(_sarif(tmp_path / "scan.sarif", "CVE-2026-0001"))
    document = json.loads(path.read_text("utf-8"))
    for result in document["runs"][0]["results"]:
        result["suppressions"] = [{"kind": "external"}]
    path.write_text(json.dumps(document), encoding="utf-8")
    assert world.done("issue", "--sarif", str(path)) == "propose: nothing was found"


def test_a_table_has_its_limits(world: World, tmp_path: Path) -> None:
    names = [f"CVE-2026-{number:04}" for number in range(400)]
    world.done("issue", "--sarif", _sarif(tmp_path / "scan.sarif", *names))
    body = world.asked()[-1]["body"]
    assert "… and 700 more" in body
    assert body.count("<!-- scan-finding:") == 400
    assert len(body) < 65_536


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="no JSON"),
        pytest.param("[]", id="no SARIF"),
        pytest.param('{"runs": [{"results": [{"level": "error"}]}]}', id="no ID"),
        pytest.param(
            '{"runs": [{"results": [{"level": "error", "ruleId": "x --> y",'
            ' "message": {"text": ""}}]}]}',
            id="an ID that would end its hidden line",
        ),
    ],
)
def test_what_is_no_report_is_refused(world: World, tmp_path: Path, text: str) -> None:
    path = tmp_path / "scan.sarif"
    path.write_text(text, encoding="utf-8")
    assert world.propose("issue", "--sarif", str(path)).returncode == 2
    assert world.asked() == []


def test_a_report_that_is_missing_is_told(world: World, tmp_path: Path) -> None:
    done = world.propose("issue", "--sarif", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "is not a scan report" in done.stderr
