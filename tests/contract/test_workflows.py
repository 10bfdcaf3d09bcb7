"""The workflows: pinned, with as few rights as can be, and nothing in them that runs only there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from conftest import GOTOOLS, ROOT
from invoke.loader import FilesystemLoader
from invoke.parser import Parser

from buildlib.commands.templates import NOXFILE, workflow_text
from buildlib.config.load import load_config

FOLDER = ROOT / ".github" / "workflows"
NAMES = ["bases.yml", "ci.yml", "faults.yml", "image.yml", "release.yml", "scan.yml", "tools.yml"]
# Whoever may do more than read, and what for is beside it in the file.
WRITES = {
    ("bases.yml", "bases"): {"contents", "pull-requests", "actions"},
    ("image.yml", "release"): {"packages"},
    ("release.yml", "images"): {"packages", "id-token"},
    ("release.yml", "binaries"): {"contents"},
    ("scan.yml", "scan"): {"issues"},
    ("tools.yml", "tools"): {"contents", "pull-requests", "actions"},
}
PINNED = re.compile(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}")
# Of this repository, at the commit of the workflow.
OWN_ACTION, NAMING_ACTION = "$/.github/actions/buildlib", "$/.github/actions/artifact-name"
OWN_ACTIONS = {OWN_ACTION, NAMING_ACTION}
OWN = "|".join(map(re.escape, OWN_ACTIONS))
USES = re.compile(rf"^\s*(?:- )?uses: (?:\S+ # v\d+\.\d+\.\d+|{OWN})$")
# Of bootstrap.sh, before its command.
BOOTSTRAP = {"--install-engine", "--release-tools", "--as-root"}
CONFIG = load_config(ROOT, {})
TESTS = ROOT / "tests"


class Step(NamedTuple):
    """A step, and where it is."""

    workflow: str
    job: str
    name: str
    text: dict[str, Any]


def _load(path: Path) -> dict[Any, Any]:
    return dict(yaml.safe_load(path.read_text("utf-8")))


WORKFLOWS = {path.name: _load(path) for path in sorted(FOLDER.iterdir())}
JOBS = {
    (name, job): dict(text)
    for name, workflow in WORKFLOWS.items()
    for job, text in workflow["jobs"].items()
}
STEPS = [
    Step(name, job, str(step["name"]), step)
    for (name, job), text in JOBS.items()
    for step in text["steps"]
]
RUNS = [step for step in STEPS if "run" in step.text]
each_step = pytest.mark.parametrize(
    "step", RUNS, ids=[f"{one.workflow} {one.job}: {one.name}" for one in RUNS]
)
each_job = pytest.mark.parametrize("key", JOBS, ids=[" ".join(key) for key in JOBS])


def _triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 takes the bare word for a truth value.
    found: dict[str, Any] = WORKFLOWS[name][True]
    return found


def test_all_of_them_are_looked_at() -> None:
    assert sorted(WORKFLOWS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_do_nothing_and_runs_once_at_a_time(name: str) -> None:
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {}
    assert workflow["concurrency"]["group"]
    # What is half proposed, published or told is not interrupted.
    assert workflow["concurrency"]["cancel-in-progress"] is (name == "ci.yml")
    # Of three releases that begin together, the second would be cancelled by the third.
    releases = name in {"image.yml", "release.yml"}
    assert workflow["concurrency"].get("queue") == ("max" if releases else None)
    own = {"push", "pull_request", "schedule", "workflow_dispatch"}
    assert set(_triggers(name)) <= ({"workflow_call"} if name == "image.yml" else own)
    assert "env" not in workflow


@each_job
def test_a_job_has_an_end_and_only_the_rights_that_it_needs(key: tuple[str, str]) -> None:
    job = JOBS[key]
    assert 0 < job["timeout-minutes"] <= 120
    assert set(job["permissions"].values()) <= {"read", "write"}
    writes = {right for right, kind in job["permissions"].items() if kind == "write"}
    assert writes == WRITES.get(key, set())
    # A secret is for the step that needs it.
    assert "env" not in job
    # No name that is another system tomorrow.
    assert "latest" not in str(job["runs-on"])


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit_with_their_version_beside(name: str) -> None:
    lines = (FOLDER / name).read_text("utf-8").splitlines()
    lines = [line for line in lines if "uses:" in line]
    assert lines
    assert not [line for line in lines if not USES.match(line)]
    used = {step.text["uses"] for step in STEPS if step.workflow == name and "uses" in step.text}
    assert len(used) <= len(lines)
    assert not [one for one in used - OWN_ACTIONS if not PINNED.fullmatch(one)]


def test_an_action_has_one_version_everywhere() -> None:
    used = {step.text["uses"] for step in STEPS if "uses" in step.text} - OWN_ACTIONS
    assert sorted(one.partition("@")[0] for one in used) == [
        "actions/checkout",
        "actions/download-artifact",
        "actions/upload-artifact",
    ]


def test_no_checkout_leaves_a_token_behind() -> None:
    checkouts = [one for one in STEPS if one.text.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(JOBS)
    assert all(one.text["with"]["persist-credentials"] is False for one in checkouts)


def test_who_versions_and_builds_sees_the_whole_history() -> None:
    for workflow in ("ci.yml", "release.yml"):
        first = [one for one in STEPS if one.workflow == workflow and "uses" in one.text]
        checkouts = [one for one in first if one.name == "Check out"]
        assert all(one.text["with"]["fetch-depth"] == 0 for one in checkouts)


# --- what steps run --------------------------------------------------------------------------


def _listed(*words: str, path: Path | None = None) -> Mapping[str, bool]:
    """Return all sessions by name, and whether these words choose them; `path` is PATH's first."""
    argv = [sys.executable, "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--list", *words]
    env = {**os.environ, "PATH": f"{path or ''}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[1]: words[0] == "*" for words in lines if words[:1] in (["*"], ["-"])}


@pytest.fixture(scope="module")
def sessions() -> set[str]:
    """Return the names of all sessions."""
    found = set(_listed())
    return found | {name.partition("(")[0] for name in found}


@pytest.fixture(scope="module")
def parser() -> Parser:
    """Return what parses the command line of invoke in this repository."""
    module, _ = FilesystemLoader(start=str(ROOT)).load("tasks")
    return Parser(contexts=module.namespace.to_contexts())


def _expanded(step: Step) -> Iterator[list[str]]:
    """Yield the words of a step, once for every entry of the matrix."""
    matrix = JOBS[step.workflow, step.job].get("strategy", {}).get("matrix", {})
    for entry in matrix.get("include", [{}]):
        text = step.text["run"]
        for name, value in step.text.get("env", {}).items():
            for key, word in entry.items():
                value = value.replace(f"${{{{ matrix.{key} }}}}", word)  # noqa: PLW2901 - its end
            text = text.replace(f"${name}", value)
        yield shlex.split(text)


def _inner(words: list[str]) -> list[str]:
    """Return the command that is run in the end, past the scripts that prepare for it."""
    if words[0] == "scripts/gotools.py" and "--" in words:
        end = words.index("--")
        assert set(words[1:end]) <= set(GOTOOLS.TOOLS)
        return _inner(words[end + 1 :])
    if words[0] == "scripts/bootstrap.sh":
        own = [word for word in words[1:] if word in BOOTSTRAP]
        assert words[1 : 1 + len(own)] == own
        return _inner(words[1 + len(own) :])
    return words


@each_step
def test_a_step_is_one_line_that_anybody_can_run(
    step: Step, sessions: set[str], parser: Parser
) -> None:
    text = step.text["run"]
    assert "\n" not in text
    assert "${{" not in text
    # Neither a pipe nor a condition: what has logic is a task, a session or a script.
    assert not re.search(r"[|&;<>`]|\$\(", text)
    for words in _expanded(step):
        command = _inner(words)
        if command[0] == "nox":
            end = command.index("--") if "--" in command else len(command)
            assert command[1] == "-s"
            assert set(command[2:end]) <= sessions
        elif command[0] == "invoke":
            (parsed,) = parser.parse_argv(command[1:])
            assert parsed.name == command[1]
        else:
            assert command[0].startswith("scripts/")
            assert os.access(ROOT / command[0], os.X_OK)


def test_what_the_scripts_are_told_they_understand(tmp_path: Path) -> None:
    """Nothing is asked outside: in a dry run, and without a finding."""
    report = tmp_path / "scan.sarif"
    report.write_text('{"runs": []}', encoding="utf-8")
    for step in RUNS:
        words = shlex.split(step.text["run"])
        if words[0] == "scripts/propose.py":
            words = [str(report) if word.endswith(".sarif") else word for word in words]
            argv = [sys.executable, *words, "--dry-run"]
            done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        if words[0] == "scripts/containerd-store.sh":
            assert words[1:] == ["--restart"]


def test_every_session_of_ci_runs_in_it(tmp_path: Path) -> None:
    (tmp_path / "go").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "go").chmod(0o755)
    plain = {name for name, chosen in _listed(path=tmp_path).items() if chosen}
    named: list[str] = []
    for step in RUNS:
        for words in _expanded(step) if step.workflow == "ci.yml" else ():
            inner = _inner(words)
            if inner[:2] == ["nox", "-s"]:
                named += inner[2 : inner.index("--") if "--" in inner else None]
    found = {name for name, chosen in _listed("-s", *named).items() if chosen}
    assert found - {"tests"} == plain


def test_what_starts_daemons_runs_as_root() -> None:
    """A runner's user is not root: some tests start a second engine, or build machines."""
    for step in RUNS:
        inner = _inner(shlex.split(step.text["run"]))
        started = {"tests", "engine", "engines", "faults", "builders"} & set(inner)
        wanted = inner[:2] == ["nox", "-s"] and started
        assert ("--as-root" in step.text["run"]) is bool(wanted), step.name


def test_sessions_that_need_cosign_get_the_pinned_one() -> None:
    """The runner's Ubuntu has no package of it, so the sessions could not install it themselves."""
    need = {"tests", "engine", "engines", "release", "faults", "publish", "builders"}
    for step in RUNS:
        inner = _inner(shlex.split(step.text["run"]))
        end = inner.index("--") if "--" in inner else len(inner)
        if inner[:2] == ["nox", "-s"] and need & set(inner[:end]):
            begin, _, rest = step.text["run"].partition(" -- ")
            assert begin == "scripts/gotools.py cosign", step.name
            assert "--release-tools" in rest, step.name


def test_what_is_tried_every_week_is_among_the_tests() -> None:
    runs = [step for step in RUNS if step.workflow == "faults.yml" and "nox" in step.text["run"]]
    inner = [_inner(shlex.split(step.text["run"])) for step in runs]
    faults, lowest, interrupts, simulation, engines = inner
    assert engines == ["nox", "-s", "engines"]
    assert simulation[:3] == ["nox", "-s", "simulation"]
    assert faults == ["nox", "-s", "faults"]
    assert lowest == ["nox", "-s", "lowest"]
    assert interrupts == ["nox", "-s", "engine", "--", "--every-request", "-k", "two_interrupts"]
    assert "two_interrupts" in (TESTS / "integration" / "test_interrupts.py").read_text("utf-8")
    files = ["tests/integration/test_publish_matrix.py", "tests/unit/test_mutants.py"]
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "faults", *files]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        *("a_fault_at_any_request", "a_fault_while_it_is_signed", "killed_after_any_step"),
        "no_broken_archive",
    ):
        assert f"test_{name}" in done.stdout


def test_bases_are_proposed_with_what_follows_from_them() -> None:
    steps = [shlex.split(step.text["run"]) for step in RUNS if step.workflow == "bases.yml"]
    inner = [_inner(words)[:3] for words in steps]
    assert inner[:2] == [["invoke", "docker-bases", "--update"], ["invoke", "goreleaser-config"]]
    assert inner[2][:2] == ["scripts/propose.py", "pull-request"]


def test_newer_tools_are_proposed_every_week() -> None:
    steps = [shlex.split(step.text["run"]) for step in RUNS if step.workflow == "tools.yml"]
    move, propose = steps
    assert move == ["scripts/gotools.py", "--update"]
    assert propose[:4] == ["scripts/propose.py", "pull-request", "--branch", "automation/go-tools"]


def test_a_dry_run_of_a_release_runs_both_of_its_tools() -> None:
    def commands(job: str) -> list[list[str]]:
        steps = [step for step in RUNS if (step.workflow, step.job) == ("release.yml", job)]
        inner = [_inner(shlex.split(step.text["run"])) for step in steps]
        return [words for words in inner if words[0] in {"invoke", "nox"}]

    (publish, binaries) = commands("dry-run")
    assert [publish] == [[*words, "--dry-run"] for words in commands("images")]
    assert [binaries] == [[*words, "--snapshot"] for words in commands("binaries")]


# --- secrets, and who signs ------------------------------------------------------------------


def test_secrets_of_a_release_are_in_its_environment_only() -> None:
    for step in STEPS:
        named = set(re.findall(r"secrets\.(\w+)", json.dumps(step.text))) - {"GITHUB_TOKEN"}
        if named:
            assert JOBS[step.workflow, step.job]["environment"] == "release"
    for key, job in JOBS.items():
        released = key[1] in {"images", "binaries"} or key == ("image.yml", "release")
        assert ("environment" in job) == released


def test_publishing_has_the_credentials_of_every_registry() -> None:
    publishing = ["invoke", "docker-publish", "--pick-up"]
    (step,) = [one for one in RUNS if _inner(shlex.split(one.text["run"])) == publishing]
    wanted = {
        name for one in CONFIG.registries for name in (one.username_env, one.password_env) if name
    }
    assert set(step.text["env"]) == wanted
    assert JOBS["release.yml", "binaries"]["needs"] == "images"


def test_a_tag_is_a_release_and_only_a_release_signs() -> None:
    assert _triggers("release.yml") == {
        "push": {"tags": [f"{CONFIG.tag_prefix}*"]},
        "workflow_dispatch": None,
    }
    pattern = CONFIG.verification().identity_pattern
    home = f"{CONFIG.source}/.github/workflows"
    assert re.match(pattern, f"{home}/release.yml@refs/tags/v1.2.3")
    for other in (
        f"{home}/release.yml@refs/heads/main",
        f"{home}/release.yml@refs/heads/refs/tags/v1",
        f"{home}/ci.yml@refs/tags/v1.2.3",
        f"{home}/release.yml.yml@refs/tags/v1.2.3",
        f"{home}/releaseXyml@refs/tags/v1.2.3",
        f"{home.replace('/dockerutilities/', '/dockerutilities-fork/')}/release.yml@refs/tags/v1",
        f"https://example.org/{home}/release.yml@refs/tags/v1.2.3",
    ):
        assert not re.match(pattern, other), other


def test_each_platform_is_smoked_where_it_is_native() -> None:
    entries = JOBS["ci.yml", "smoke"]["strategy"]["matrix"]["include"]
    assert [one["platform"] for one in entries] == [str(one) for one in CONFIG.platforms]
    for one in entries:
        assert one["runner"].endswith("-arm") == one["platform"].endswith("arm64")


@pytest.mark.parametrize("job", [("release.yml", "images"), ("image.yml", "release")])
def test_a_release_that_is_run_again_has_what_it_made_before(job: tuple[str, str]) -> None:
    steps = [one for one in STEPS if (one.workflow, one.job) == job]
    names = [one.text.get("uses", "").partition("@")[0] or "a command" for one in steps]
    others = job[0] == "image.yml"
    command = OWN_ACTION if others else "a command"
    assert names[-3:] == ["actions/download-artifact", command, "actions/upload-artifact"]
    back, publishes, kept = (one.text for one in steps[-3:])
    release = publishes["with"]["tasks"] if others else publishes["run"]
    assert release.endswith("${{ inputs.release }}" if others else "docker-publish --pick-up")
    folder = "${{ inputs.directory }}/dist" if others else "dist"
    # By a pattern, of which there may be none: the first time there is nothing yet.
    assert back["with"] == {
        "pattern": kept["with"]["name"],
        "merge-multiple": True,
        "path": folder,
    }
    # A second attempt keeps its own in their place.
    assert kept["with"]["overwrite"] is True
    assert kept["if"] == "${{ !cancelled() }}"
    paths = kept["with"]["path"].splitlines()
    # All of them together are what lies in that directory: it is their common one. With several
    # images, each has a directory of its own in it.
    assert {str(Path(path).parent) for path in paths} == {f"{folder}/**" if others else folder}


# --- for other repositories ------------------------------------------------------------------


ACTION = _load(ROOT / ".github" / "actions" / "buildlib" / "action.yml")
NAMING = _load(ROOT / ".github" / "actions" / "artifact-name" / "action.yml")
# It prints what it was called with, and calls what comes after its own words.
SCRIPT = """\
#!/bin/sh
echo "${0##*/} $* in ${PWD##*/}"
"""


def _own_steps() -> list[dict[str, Any]]:
    return [step.text for step in STEPS if step.text.get("uses") == OWN_ACTION]


def test_what_the_workflow_for_others_runs_are_tasks(parser: Parser) -> None:
    inputs = _triggers("image.yml")["workflow_call"]["inputs"]
    check, release = _own_steps()
    assert check["with"]["tasks"] == "${{ inputs.checks }}"
    checks = [one.name for one in parser.parse_argv(inputs["checks"]["default"].split())]
    assert checks == ["docker-build", "docker-policy", "docker-smoke"]
    assert check["with"]["tools"] == "${{ inputs.tools }}"
    assert release["with"]["tasks"] == "${{ inputs.release }}"
    (publish,) = parser.parse_argv(inputs["release"]["default"].split())
    assert (publish.name, publish.args["pick-up"].value) == ("docker-publish", True)
    assert set(release["with"]["tools"].split()) <= set(GOTOOLS.TOOLS)
    for step in (check, release):
        assert set(step["with"]) <= set(ACTION["inputs"])
        assert step["with"]["directory"] == "${{ inputs.directory }}"


def test_jobs_of_one_workflow_release_side_by_side(tmp_path: Path) -> None:
    told_apart = "${{ inputs.directory }}", "${{ inputs.release }}"
    group = WORKFLOWS["image.yml"]["concurrency"]["group"]
    assert all(one in group for one in told_apart)
    (naming,) = [step.text for step in STEPS if step.text.get("uses") == NAMING_ACTION]
    assert naming["with"] == {"release": " ".join(told_apart)}
    (step,) = NAMING["runs"]["steps"]
    assert "${{" not in step["run"]
    outputs = tmp_path / "outputs"
    for release in ("a/b x", "a-b x", "a/b x --only y", "a/b x"):
        env = {**os.environ, "RELEASE": release, "GITHUB_OUTPUT": str(outputs)}
        argv = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
        subprocess.run(argv, env=env, check=True)
    *names, again = outputs.read_text("utf-8").splitlines()
    assert again == names[0]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"name=publication-a-b-x[a-z0-9-]+", one) for one in names)


def test_the_workflow_for_others_passes_the_secrets_that_it_takes() -> None:
    secrets = set(_triggers("image.yml")["workflow_call"]["secrets"])
    _, release = _own_steps()
    assert set(release["env"]) == secrets | {"GITHUB_TOKEN"}
    assert all(value == f"${{{{ secrets.{name} }}}}" for name, value in release["env"].items())
    conditions = [JOBS["image.yml", name]["if"] for name in ("check", "release")]
    assert conditions == ["github.ref_type != 'tag'", "github.ref_type == 'tag'"]


@pytest.mark.parametrize("tools", ["", "cosign grype"])
def test_the_action_runs_the_tasks_with_the_scripts_beside_it(tmp_path: Path, tools: str) -> None:
    here, source = tmp_path / "here", tmp_path / "the source"
    (source / "scripts").mkdir(parents=True)
    here.mkdir()
    (here / "file").touch()
    for name in ("containerd-store.sh", "bootstrap.sh", "gotools.py"):
        assert os.access(ROOT / "scripts" / name, os.X_OK)
        (source / "scripts" / name).write_text(SCRIPT, encoding="utf-8")
        (source / "scripts" / name).chmod(0o755)
    printed = []
    for step in ACTION["runs"]["steps"]:
        if step.get("if", f"inputs.tools {'!=' if tools else '=='} ''") == (
            f"inputs.tools {'!=' if tools else '=='} ''"
        ):
            assert "${{" not in step["run"]
            env = {
                name: value.replace("${{ github.action_path }}/../../..", str(source))
                .replace("${{ inputs.tasks }}", "docker-smoke --platform *")
                .replace("${{ inputs.tools }}", tools)
                for name, value in step["env"].items()
            }
            argv = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                argv,
                cwd=here,
                env={**os.environ, **env},
                capture_output=True,
                text=True,
                check=True,
            )
            printed.append(done.stdout.strip().replace(str(source), "SOURCE"))
    run = "--install-engine python -m buildlib docker-smoke --platform * in here"
    built = "gotools.py cosign grype -- SOURCE/scripts/bootstrap.sh"
    assert printed == [
        "containerd-store.sh --restart in here",
        f"{built if tools else 'bootstrap.sh'} {run}",
    ]


def test_the_lines_that_call_it_are_in_the_documentation_and_clean(tmp_path: Path) -> None:
    text = workflow_text({CONFIG.tag_prefix: ()}, "", CONFIG.source.partition(".com/")[2], "0" * 40)
    assert len(text.splitlines()) == 10
    prefixes = {"v": ["web"], "api/v": ["api.v2", "worker"]}
    several = workflow_text(prefixes, "services", "a/b", "0" * 40)
    page = (ROOT / "docs" / "automation.md").read_text("utf-8")
    assert f"```yaml\n# .github/workflows/image.yml\n{text}```" in page
    assert f"```python\n# noxfile.py\n{NOXFILE}```" in page
    path = tmp_path / ".github" / "workflows" / "image.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    other = path.with_name("several.yml")
    other.write_text(several, encoding="utf-8")
    assert _load(other)[True]["push"] == {"tags": ["v*", "api/v*"]}
    api = _load(other)["jobs"]["image_api_v2"]
    assert api["if"] == "github.ref_type != 'tag' || startsWith(github.ref_name, 'api/v')"
    only = "--only api.v2 --only worker"
    assert api["with"]["release"] == f"docker-publish --pick-up {only}"
    assert api["with"]["directory"] == "services"
    checks = _triggers("image.yml")["workflow_call"]["inputs"]["checks"]["default"]
    assert api["with"]["checks"].replace(f" {only}", "") == checks
    zizmor = str(Path(sys.executable).parent / "zizmor")
    argv = [zizmor, "--offline", "--no-progress", "--persona", "auditor", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    (job,) = _load(path)["jobs"].values()
    granted = job["permissions"]
    for wanted in (JOBS["image.yml", name]["permissions"] for name in ("check", "release")):
        # What a called workflow may do more than its caller, GitHub refuses.
        assert wanted.items() <= granted.items()


# --- dependabot ------------------------------------------------------------------------------


def test_dependencies_of_every_kind_are_proposed_together_and_not_on_their_first_day() -> None:
    updates = _load(ROOT / ".github" / "dependabot.yml")["updates"]
    kinds = {one["package-ecosystem"]: one for one in updates}
    assert {name: one["directory"] for name, one in kinds.items()} == {
        "github-actions": "/",
        "pip": "/requirements",
        "docker": "/",
        "gomod": "/app",
    }
    for one in updates:
        assert (ROOT / one["directory"].lstrip("/")).is_dir()
        assert one["schedule"] == {"interval": "weekly"}
        assert one["cooldown"] == {"default-days": 7}
        assert [group["patterns"] for group in one["groups"].values()] == [["*"]]
