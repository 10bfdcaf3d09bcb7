"""The sessions of CI and contributors. Plain `nox` runs everything that CI runs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

import buildlib.nox
from buildlib.config.load import load_config

# The first version that runs sessions in parallel: `nox -j 2`.
nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

# These build tools with Go: plain nox runs them if `go` is on PATH, and otherwise says that they
# are left out. By name they run, or fail.
NEEDS_GO = ["goreleaser", "builders"]
HAS_GO = shutil.which("go") is not None
nox.options.sessions = [
    # The checks of a change first, and then the longest: the last one would run alone.
    *("lint", "unit"),
    *(NEEDS_GO if HAS_GO else ["left_out"]),
    *("publish", "reproducible", "simulation", "browser", "smoke", "app_tests"),
    # Nothing runs beside these.
    *("engine", "release", "coverage"),
]
# Many sessions wait for an engine or a registry, and leave a core to another one. A session that is
# run by name shows its output at once, unless `-j` is given as well.
if len(sys.argv) == 1:
    nox.options.parallel = 2

REQUIREMENTS = "requirements/dev.txt"
LOWEST = "requirements/lowest.txt"
BROWSER = "requirements/browser.txt"
# Two workers that share the remaining tests, and a table of the slowest ones.
SHARED = ("-n", "2", "--dist", "worksteal", "--durations", "30")
# More workers than cores: much of the time they wait for processes, registries, engines and disks.
WAITING = ("-n", "4", *SHARED[2:])
LEAST_BRANCHES = 95
# The prefix of each one's command: on Debian 12 the installed tools are the oldest supported ones.
TOOLCHAINS = {
    "oldest": (),
    "current buildx": ("scripts/toolchain.py",),
    "current": ("scripts/toolchain.py", "--engine"),
}
CONFIG = load_config(Path(__file__).parent, os.environ)


def _python(version: str) -> str | None:
    """Return the path of a Python, from PATH or pyenv, whose shims may not work."""
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
    # Invoke writes no byte code: without this, every task in a test would compile its libraries.
    session.env["UV_COMPILE_BYTECODE"] = "1"
    session.install("--no-deps", "--require-hashes", "-r", REQUIREMENTS)


def _build(session: nox.Session, *options: str) -> None:
    """Run docker-build in the session's environment."""
    session.run("invoke", "docker-build", *options)


def _release_tools(session: nox.Session) -> None:
    """Install a registry server and cosign, which only the tests of publishing need."""
    session.run("scripts/bootstrap.sh", "--release-tools", "true", external=True)


def _lint_workflows(session: nox.Session) -> None:
    """Check the workflows; actionlint calls the shellcheck of the environment."""
    session.run("python", "scripts/gotools.py", "actionlint", "--", "actionlint")
    # Offline: online checks need a token, and their results change from day to day.
    session.run(
        *("zizmor", "--offline", "--no-progress", "--collect", "all", "--strict-collection"),
        *("--persona", "auditor", ".github"),
    )


@nox.session(tags=["fast"], allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check Python, shell, Dockerfiles, workflows, and the Go program inside the build."""
    _install(session)
    # Their types are checked against as well.
    session.install("--no-deps", "--require-hashes", "-r", BROWSER)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    # Including the sourced files in scripts/lib.
    shellcheck = ("shellcheck", "--external-sources", "--check-sourced")
    session.run(*shellcheck, *map(str, sorted(Path("scripts").glob("*.sh"))), ".ci/run")
    session.run("hadolint", "--config", ".hadolint.yaml", "Dockerfile")
    session.run("invoke", "goreleaser-config", "--check")
    _lint_workflows(session)
    _build(session, "--target", "lint", "--output", "cacheonly")


@nox.session(allow_parallel=True)
def app_tests(session: nox.Session) -> None:
    """Run the Go tests inside the build, and write their coverage to coverage/."""
    _install(session)
    _build(session, "--target", "coverage", "--output", "type=local,dest=coverage")
    session.log(Path("coverage/coverage.txt").read_text(encoding="utf-8").splitlines()[-1])


@nox.session(allow_parallel=True)
def browser(session: nox.Session) -> None:
    """Open the program's pages in Chromium; `-- --screenshots` writes those of docs/images."""
    _install(session)
    session.install("--no-deps", "--require-hashes", "-r", BROWSER)
    session.run("scripts/bootstrap.sh", "--browser", "true", external=True)
    folder = session.cache_dir.resolve() / "program"
    _build(session, "--target", CONFIG.binary_target, "--output", f"type=local,dest={folder}")
    session.env["DOCKERUTILITIES_PROGRAM"] = str(folder / Path(CONFIG.image).name)
    session.run("pytest", "-m", "browser", "tests/browser", *session.posargs)


def _check_branches(session: nox.Session) -> None:
    """Fail under 95 % of branches: the report's figure mixes branches and lines."""
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
        workers: SHARED, WAITING, or as many others.
    """
    chosen = any(Path(word.partition("::")[0]).exists() for word in session.posargs)
    # Absolute, because measured tasks run in other directories.
    session.env["COVERAGE_FILE"] = str(Path(f".coverage-{session.name}").resolve())
    session.run("coverage", "erase")
    files = () if chosen else folders
    # Otherwise each worker would rewrite the assertions of every file: seven seconds of CPU.
    cached = {"PYTHONDONTWRITEBYTECODE": None}
    words = ("-m", mark, *workers, *files, *session.posargs)
    session.run("coverage", "run", "-m", "pytest", *words, env=cached)
    session.run("coverage", "combine", "--quiet")


@nox.session(tags=["fast"], allow_parallel=True)
def unit(session: nox.Session) -> None:
    """Run the tests that need no engine: unit, contract and shell; takes pytest's options."""
    _install(session)
    folders = ("tests/unit", "tests/contract", "tests/adopt", "tests/shell")
    # The third works while others wait. Each takes 15 s of CPU to collect the tests of a new clone.
    _pytest(session, "unit", *folders, workers=("-n", "3", *SHARED[2:]))


@nox.session(default=False, allow_parallel=True)
def lowest(session: nox.Session) -> None:
    """Run the unit tests with the oldest dependencies that pyproject.toml allows."""
    _install(session)
    session.install("--no-deps", "--require-hashes", "-r", LOWEST)
    session.run("pytest", "-m", "unit", *SHARED, "tests/unit", *session.posargs)


@nox.session(default=False)
@nox.parametrize("python", PYTHONS)
def pythons(session: nox.Session) -> None:
    """Run the unit tests with each Python from 3.11 to 3.14 on PATH or in pyenv."""
    _install(session)
    session.run("pytest", "-m", "unit", *SHARED, "tests/unit", *session.posargs)


@nox.session
def engine(session: nox.Session) -> None:
    """Run the tests of building and running images on the real engine; takes pytest's options."""
    _install(session)
    _release_tools(session)
    session.run("scripts/bootstrap.sh", "--shells", "true", external=True)
    # Most of the time these wait for the engine.
    _pytest(session, "engine", "tests/integration", workers=WAITING)


@nox.session
def release(session: nox.Session) -> None:
    """Run the tests of signing and publishing, to real registries; takes pytest's options."""
    _install(session)
    _release_tools(session)
    _pytest(session, "release", "tests/integration", workers=WAITING)


@nox.session(requires=["unit", "engine", "release"])
def coverage(session: nox.Session) -> None:
    """Report the coverage of unit, engine and release; fails under 95 %."""
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
    """Inject every fault at every request of a publication, and kill it after each step.

    It also runs all examples of the tests that otherwise run a part of them.
    """
    _install(session)
    # Twenty times as many examples need a longer timeout.
    patient = ("--timeout", "3600", *WAITING)
    if not session.posargs:
        examples = ("-m", "hypothesis", "--hypothesis-profile", "all examples")
        session.run("pytest", *examples, *patient, "tests/unit")
    _release_tools(session)
    session.run("pytest", "-m", "faults", *patient, "tests", *session.posargs)


@nox.session(allow_parallel=True)
def simulation(session: nox.Session) -> None:
    """Race publishers in simulated registries; `-- --simulate 200` does so for an hour."""
    _install(session)
    session.run("pytest", "-m", "simulation", *SHARED, "tests/simulation", *session.posargs)


# smoke(linux/amd64), …: as other repositories have it.
buildlib.nox.sessions(only=["smoke"], install=_install)


@nox.session(allow_parallel=True)
def reproducible(session: nox.Session) -> None:
    """Build every platform twice under different conditions; every byte has to be the same."""
    _install(session)
    if session.posargs:
        session.run("invoke", "docker-reproduce", *session.posargs)
    else:
        # The same, and further checks of the archives.
        session.run("pytest", "-m", "reproducible", "tests/integration", "--capture=no")


@nox.session(allow_parallel=True)
def publish(session: nox.Session) -> None:
    """Make test releases of this repository's image to two local registries, and roll back."""
    _install(session)
    _release_tools(session)
    session.run("pytest", "-m", "publish", "tests/integration", "--capture=no", *session.posargs)


def _answer(session: nox.Session, *command: str) -> str:
    """Return what a command prints on stdout; its stderr is shown."""
    return str(session.run(*command, silent=True, stderr=None, external=True)).strip()


def _like_docker_publish(session: nox.Session) -> dict[str, str]:
    """Return what GoReleaser can't know: tags that don't move, and the Go of the image."""
    held_back = _answer(session, "invoke", "goreleaser-config", "--held-back")
    program = _answer(session, "invoke", "binary")
    # `PATH: go1.24.3`: a different Go compiles the same sources to different bytes.
    compiler = _answer(session, "go", "version", program).rpartition(": ")[2]
    return {"BUILDLIB_HELD_BACK": held_back, "GOTOOLCHAIN": compiler}


@nox.session(allow_parallel=True)
def goreleaser(session: nox.Session) -> None:
    """Check GoReleaser's configuration, and make test releases; `-- release` makes a real one."""
    _install(session)
    # With the pinned GoReleaser on PATH, and syft, which it calls.
    run = ("python", "scripts/gotools.py", "goreleaser", "syft", "--")
    if session.posargs[:1] == ["release"]:
        # docker-publish publishes the images, after its gates.
        words = ("release", "--clean", "--skip=docker,sign", *session.posargs[1:])
        session.run(*run, "goreleaser", *words, env=_like_docker_publish(session))
        return
    _release_tools(session)
    session.run(*run, "goreleaser", "check")
    session.run(*run, "pytest", "-m", "goreleaser", "tests/integration", *session.posargs)


@nox.session(allow_parallel=True)
def builders(session: nox.Session) -> None:
    """Build on two buildkitd with TLS, one for each platform, and kill one of them."""
    if os.geteuid() != 0:
        session.error("buildkitd needs root: scripts/bootstrap.sh --as-root nox -s builders")
    _install(session)
    _release_tools(session)
    session.run("pytest", "-m", "builders", *SHARED, "tests/integration", *session.posargs)


@nox.session(default=False)
def engines(session: nox.Session) -> None:
    """Test with the oldest and the newest Docker tools, and write docs/toolchains.md."""
    if os.geteuid() != 0:
        session.error("a second engine needs root: scripts/bootstrap.sh --as-root nox -s engines")
    _install(session)
    # A new engine has no compiler cache: compile Go's library once, before the tests. The image's
    # own steps may be cached even if the library is not.
    build = "invoke docker-build --no-cache --platform all --output cacheonly"
    pytest = ("python", "-m", "pytest", "-m", "toolchain", *SHARED)
    built_first = ("sh", "-c", f'{build} && exec "$@"', "-", *pytest)
    files, failed = [], []
    for name, prefix in TOOLCHAINS.items():
        session.log(name)
        # Not `create_tmp`: it moves TMPDIR into this checkout, so that tests would find its git.
        files.append(session.cache_dir.resolve() / f"{name}.json".replace(" ", "-"))
        files[-1].unlink(missing_ok=True)
        words = (*prefix, *built_first, "--matrix", str(files[-1]), "tests/integration")
        # The separate engine has no network: it needs local base images.
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
    """Print which sessions plain nox does not run on this machine, and why."""
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
    """Measure, and print the table for benchmarks/README.md."""
    _install(session)
    session.run("python", "benchmarks/run.py", *session.posargs)
