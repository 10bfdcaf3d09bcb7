"""What CI runs, and contributors: isolated sessions. Plain `nox` runs all that CI runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from buildlib.config.config import load_config

# The first that runs sessions side by side: `nox -j 2`.
nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

# Each of them builds tools that are written in Go: plain nox runs them where `go` is on PATH, and
# says which it leaves out where it is not. Asked for by name they run, or fail.
NEEDS_GO = ["goreleaser", "builders"]
HAS_GO = shutil.which("go") is not None
nox.options.sessions = [
    *("lint", "unit", "app_tests", "engine", "release", "coverage", "simulation"),
    *("smoke", "reproducible", "publish"),
    *(NEEDS_GO if HAS_GO else ["left_out"]),
]
# Many a session waits for an engine or a registry, and leaves a core to another. A session that is
# asked for by name shows what it does while it does it, unless `-j` is given as well.
if len(sys.argv) == 1:
    nox.options.parallel = 2

REQUIREMENTS = "requirements/dev.txt"
LOWEST = "requirements/lowest.txt"
# Two workers that share what is left, and a table of the slowest tests.
SHARED = ("-n", "2", "--dist", "worksteal", "--durations", "30")
# More of them than cores: much of the time they wait for processes, registries, engines and disks.
WAITING = ("-n", "4", *SHARED[2:])
LEAST_BRANCHES = 95
# Each with what its command is run by: the installed tools are the oldest that count, on Debian 12.
TOOLCHAINS = {
    "oldest": (),
    "current buildx": ("scripts/toolchain.py",),
    "current": ("scripts/toolchain.py", "--engine"),
}
CONFIG = load_config(Path(__file__).parent, os.environ)
PLATFORMS = [str(platform) for platform in CONFIG.platforms]


def _python(version: str) -> str | None:
    """Return where a Python is: on PATH, or among pyenv's, whose shims may lead nowhere."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = [one for one in os.get_exec_path() if Path(one) != pyenv / "shims"]
    places += map(str, sorted(pyenv.glob(f"versions/{version}.*/bin")))
    return shutil.which(f"python{version}", path=os.pathsep.join(places))


PYTHONS = [
    nox.param(found, id=version)
    for version in ("3.11", "3.12", "3.13", "3.14")
    if (found := _python(version))
]


def _install(session: nox.Session) -> None:
    # Invoke writes no byte code: without this, every task that a test runs compiles its libraries.
    session.env["UV_COMPILE_BYTECODE"] = "1"
    session.install("--no-deps", "--require-hashes", "-r", REQUIREMENTS)


def _build(session: nox.Session, *options: str) -> None:
    """Run docker-build as a person would, from the session's own environment."""
    session.run("invoke", "docker-build", *options)


def _release_tools(session: nox.Session) -> None:
    """See to a registry server and cosign, which only the tests of publishing need."""
    session.run("scripts/bootstrap.sh", "--release-tools", "true", external=True)


def _lint_workflows(session: nox.Session) -> None:
    """Check the workflows; shellcheck, which actionlint calls, is the environment's."""
    session.run("python", "scripts/gotools.py", "actionlint", "--", "actionlint")
    # Offline: what is asked of GitHub would differ from day to day, and needs a token.
    session.run(
        *("zizmor", "--offline", "--no-progress", "--collect", "all", "--strict-collection"),
        *("--persona", "auditor", ".github"),
    )


@nox.session(tags=["fast"], allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check Python, shell, Dockerfiles, workflows, and the Go program inside the build."""
    _install(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    # With what the scripts read: scripts/lib.
    shellcheck = ("shellcheck", "--external-sources", "--check-sourced")
    session.run(*shellcheck, *map(str, sorted(Path("scripts").glob("*.sh"))), ".ci/run")
    session.run("hadolint", "--config", ".hadolint.yaml", "Dockerfile")
    session.run("invoke", "goreleaser-config", "--check")
    _lint_workflows(session)
    _build(session, "--target", "lint", "--output", "cacheonly")


@nox.session(allow_parallel=True)
def app_tests(session: nox.Session) -> None:
    """Run the Go tests inside the build; the coverage is left in coverage/."""
    _install(session)
    _build(session, "--target", "coverage", "--output", "type=local,dest=coverage")
    session.log(Path("coverage/coverage.txt").read_text(encoding="utf-8").splitlines()[-1])


def _check_branches(session: nox.Session) -> None:
    """Fail under 95 % of branches: the figure of the report mixes them with statements."""
    file = Path(session.create_tmp(), "coverage.json")
    session.run("coverage", "json", "--quiet", "-o", str(file))
    totals = json.loads(file.read_text(encoding="utf-8"))["totals"]
    share = 100 * totals["covered_branches"] / totals["num_branches"]
    session.log(f"branches: {share:.1f} %")
    if share < LEAST_BRANCHES:
        session.error(f"fewer than {LEAST_BRANCHES} % of branches are covered")


def _pytest(
    session: nox.Session, mark: str, *folders: str, workers: tuple[str, ...] = SHARED
) -> None:
    """Run the tests with a mark on several workers, with a table of the slowest; measure coverage.

    Args:
        session: to run them in; its arguments are pytest's.
        mark: of the tests.
        folders: that they are in, where the session's arguments name no file.
        workers: SHARED or WAITING.
    """
    chosen = any(Path(word.partition("::")[0]).exists() for word in session.posargs)
    # Absolute: tasks that are measured as well run in directories of their own.
    session.env["COVERAGE_FILE"] = str(Path(f".coverage-{session.name}").resolve())
    session.run("coverage", "erase")
    files = () if chosen else folders
    # Else each worker would rewrite the assertions of every file again: seven seconds of CPU.
    cached = {"PYTHONDONTWRITEBYTECODE": None}
    words = ("-m", mark, *workers, *files, *session.posargs)
    session.run("coverage", "run", "-m", "pytest", *words, env=cached)
    session.run("coverage", "combine", "--quiet")


@nox.session(tags=["fast"], allow_parallel=True)
def unit(session: nox.Session) -> None:
    """Run the tests that need no engine: unit, contract and shell; takes pytest's options."""
    _install(session)
    folders = ("tests/unit", "tests/contract", "tests/shell")
    _pytest(session, "unit", *folders, workers=WAITING)


@nox.session(default=False, allow_parallel=True)
def lowest(session: nox.Session) -> None:
    """Run the unit tests with the oldest dependencies that pyproject.toml allows."""
    _install(session)
    session.install("--no-deps", "--require-hashes", "-r", LOWEST)
    session.run("pytest", "-m", "unit", *SHARED, "tests/unit", *session.posargs)


@nox.session(default=False)
@nox.parametrize("python", PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the unit tests with each Python of 3.11 to 3.14 that is on PATH or pyenv has."""
    _install(session)
    session.run("pytest", "-m", "unit", *SHARED, "tests/unit", *session.posargs)


@nox.session
def engine(session: nox.Session) -> None:
    """Run the tests of building and running images on the real engine; takes pytest's options."""
    _install(session)
    _release_tools(session)
    # The engine is waited for: for containers that start and end, and builds.
    _pytest(session, "engine", "tests/integration", workers=WAITING)


@nox.session
def release(session: nox.Session) -> None:
    """Run the tests of signing and publishing, to real registries; takes pytest's options."""
    _install(session)
    _release_tools(session)
    _pytest(session, "release", "tests/integration", workers=WAITING)


@nox.session(requires=["unit", "engine", "release"])
def coverage(session: nox.Session) -> None:
    """Report the coverage of the three sessions before it; fails under 95 %."""
    _install(session)
    parts = [f".coverage-{name}" for name in ("unit", "engine", "release")]
    session.run("coverage", "combine", "--keep", "--quiet", *parts)
    session.run("coverage", "report", f"--fail-under={LEAST_BRANCHES}")
    _check_branches(session)


@nox.session(requires=["coverage"], python=False, default=False)
def tests(session: nox.Session) -> None:
    """Run unit, engine and release, and report their coverage."""
    session.log("unit, engine and release passed")


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Let each request of a publication fail in each way, and kill it after each step: an hour.

    Whatever each run tries on a part of its examples, it tries on all of them.
    """
    _install(session)
    # Twenty times as many examples take as long as they take.
    patient = ("--timeout", "3600", *SHARED)
    if not session.posargs:
        examples = ("-m", "hypothesis", "--hypothesis-profile", "all examples")
        session.run("pytest", *examples, *patient, "tests/unit")
    _release_tools(session)
    session.run("pytest", "-m", "faults", *patient, "tests", *session.posargs)


@nox.session(allow_parallel=True)
def simulation(session: nox.Session) -> None:
    """Race publishers in simulated registries for two minutes: `-- --simulate 160` for an hour."""
    _install(session)
    words = ("-m", "simulation", "-n", "2", *(session.posargs or ("--simulate", "3")))
    session.run("pytest", *words, "tests/simulation")


@nox.session(allow_parallel=True)
@nox.parametrize("platform", PLATFORMS, ids=PLATFORMS)
def smoke(session: nox.Session, platform: str) -> None:
    """Try one platform as a user would: `nox -s smoke -- IMAGE` one that is there."""
    _install(session)
    words = list(session.posargs)
    if words and not words[0].startswith("-"):
        words.insert(0, "--image")
    report = f"dist/{Path(CONFIG.image).name}-smoke-{platform.replace('/', '-')}.xml"
    session.run("invoke", "docker-smoke", "--platform", platform, "--junit", report, *words)


@nox.session(allow_parallel=True)
def reproducible(session: nox.Session) -> None:
    """Build every platform twice under other conditions; not a byte may differ."""
    _install(session)
    if session.posargs:
        session.run("invoke", "docker-reproduce", *session.posargs)
    else:
        # The same, and what the archives hold besides.
        session.run("pytest", "-m", "reproducible", "tests/integration", "--capture=no")


@nox.session(allow_parallel=True)
def publish(session: nox.Session) -> None:
    """Publish this repository's image for real: two releases to two registries, and back again."""
    _install(session)
    _release_tools(session)
    session.run("pytest", "-m", "rehearsal", "tests/integration", "--capture=no", *session.posargs)


def _answer(session: nox.Session, *command: str) -> str:
    """Return what a command prints; what it says beside that is shown."""
    return str(session.run(*command, silent=True, stderr=None, external=True)).strip()


def _like_docker_publish(session: nox.Session) -> dict[str, str]:
    """Return what GoReleaser can't know: which tags don't move, and what compiled the image's."""
    held_back = _answer(session, "invoke", "goreleaser-config", "--held-back")
    program = _answer(session, "invoke", "binary")
    # `PATH: go1.24.3`: another Go makes other programs of the same sources.
    compiler = _answer(session, "go", "version", program).rpartition(": ")[2]
    return {"BUILDLIB_HELD_BACK": held_back, "GOTOOLCHAIN": compiler}


@nox.session(allow_parallel=True)
def goreleaser(session: nox.Session) -> None:
    """Check GoReleaser's configuration and release with it here; `-- release` does it for real."""
    _install(session)
    # With the pinned GoReleaser on PATH, and syft, which it calls.
    run = ("python", "scripts/gotools.py", "goreleaser", "syft", "--")
    if session.posargs[:1] == ["release"]:
        # The images are published by docker-publish, which judges them before.
        words = ("release", "--clean", "--skip=docker,sign", *session.posargs[1:])
        session.run(*run, "goreleaser", *words, env=_like_docker_publish(session))
        return
    _release_tools(session)
    session.run(*run, "goreleaser", "check")
    session.run(*run, "pytest", "-m", "goreleaser", "tests/integration", *session.posargs)


@nox.session(allow_parallel=True)
def builders(session: nox.Session) -> None:
    """Build on two machines for real, one for each platform, and kill one: buildkitd with TLS."""
    if os.geteuid() != 0:
        session.error(
            "buildkitd has to be root here: scripts/bootstrap.sh --as-root nox -s builders"
        )
    _install(session)
    _release_tools(session)
    session.run("pytest", "-m", "builders", *SHARED, "tests/integration", *session.posargs)


@nox.session(default=False)
def engines(session: nox.Session) -> None:
    """Test with the oldest and the newest of Docker's tools, and write docs/toolchains.md."""
    if os.geteuid() != 0:
        session.error("a second engine is root here: scripts/bootstrap.sh --as-root nox -s engines")
    _install(session)
    # An engine without the compiler's cache compiles all of Go's library: once, and not in the
    # time of several tests. The image's own steps may be cached where that is not.
    build = "invoke docker-build --no-cache --platform all --output cacheonly"
    pytest = ("python", "-m", "pytest", "-m", "toolchain", *SHARED)
    built_first = ("sh", "-c", f'{build} && exec "$@"', "-", *pytest)
    files, failed = [], []
    for name, prefix in TOOLCHAINS.items():
        session.log(name)
        # Not `create_tmp`: it moves TMPDIR into this checkout, whose git would be found by tests.
        files.append(session.cache_dir.resolve() / f"{name}.json".replace(" ", "-"))
        files[-1].unlink(missing_ok=True)
        words = (*prefix, *built_first, "--matrix", str(files[-1]), "tests/integration")
        # An engine of its own has no network: it needs base images that are here.
        session.run(
            *("scripts/bootstrap.sh", "--release-tools", *words, *session.posargs),
            env={"BUILDLIB_BASES": os.environ.get("BUILDLIB_BASES", "layouts")},
            external=True,
            success_codes=[0, 1],
        )
        if any(json.loads(files[-1].read_text(encoding="utf-8"))["failed"].values()):
            failed.append(name)
    if failed:
        session.error(f"tests failed on: {', '.join(failed)}")
    if not session.posargs:
        session.run("python", "tests/matrix.py", *map(str, files))


@nox.session(python=False, default=False)
def left_out(session: nox.Session) -> None:
    """Say which sessions plain nox does not run on this machine, and why."""
    for name in NEEDS_GO if not HAS_GO else ():
        session.warn(f"{name} was left out: no go on PATH (go.dev/doc/install); nox -s {name}")


@nox.session(default=False)
def fmt(session: nox.Session) -> None:
    """Format Python here, and Go inside the build."""
    _install(session)
    session.run("ruff", "format", ".")
    session.run("ruff", "check", "--fix", ".")
    _build(session, "--target", "formatted", "--output", "type=local,dest=app")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure; prints the table that benchmarks/README.md keeps."""
    _install(session)
    session.run("python", "benchmarks/run.py", *session.posargs)
