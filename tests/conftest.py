"""Fixtures of all kinds of tests."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import pkgutil
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import coverage
import pytest
from goldenfiles import Golden
from grypedb import Advisory, write_database
from hypothesis import HealthCheck, settings
from inprocess import run_task
from matrix import write_column

import buildlib

# What is held in there is told as well as what is held in a test.
pytest.register_assert_rewrite("faults", "killing")
ROOT = Path(__file__).parent.parent
SLOW = HealthCheck.too_slow
# Those that a test has to be marked for; the session `unit` runs the others.
SESSIONS = (
    *("engine", "release", "faults", "simulation", "reproducible", "publish", "goreleaser"),
    *("builders", "browser"),
)
# Only the session browser has what steers one.
collect_ignore = [] if importlib.util.find_spec("playwright") else ["browser"]
# Fixtures that compile: whichever test comes first waits for it, where nothing is cached yet.
COMPILING = {"own_image", "product", "grype", "syft_path", "cosign_path", "referrers"}
TASKS = """\
from pathlib import Path
from buildlib.tasks import collection
namespace = collection(Path(__file__).parent, complete=True)
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take `--every-request`: faults at each request, not only at some of them."""
    parser.addoption("--every-request", action="store_true", help="inject faults everywhere")
    parser.addoption("--matrix", type=Path, help="file for the versions, and what passed on them")
    parser.addoption("--update-golden", action="store_true", help="write the files of tests/golden")
    parser.addoption("--screenshots", action="store_true", help="write those of docs/images")
    parser.addoption("--simulate", default="1", help="times as many simulated interleavings")


# Of this thread, and of each that is started.
Tracers = tuple[Any, Any]
TRACERS = pytest.StashKey[Tracers]()
UNTRACED = (None, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Measure the coverage of importing buildlib, and from here on only that of tests.

    Python takes three times as long while it is traced, also for code that isn't measured. Of
    several workers, which import the same, only the first one is measured while it does so.
    """
    tracers = session.config.stash[TRACERS] = _trace(UNTRACED)
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    with _traced(tracers if first else UNTRACED):
        for module in pkgutil.walk_packages(buildlib.__path__, "buildlib.") if any(tracers) else ():
            importlib.import_module(module.name)
    return (yield)


def _trace(tracers: Tracers) -> Tracers:
    """Set the tracers, and return those before."""
    before = sys.gettrace(), threading.gettrace()
    sys.settrace(tracers[0])
    threading.settrace(tracers[1])
    return before


@contextmanager
def _traced(tracers: Tracers) -> Iterator[None]:
    before = _trace(tracers)
    try:
        yield
    finally:
        _trace(before)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_fixture_setup(request: pytest.FixtureRequest) -> Generator[None, object, object]:
    """Measure the coverage of fixtures, but for those of tests and files that are not measured."""
    with _traced(_tracers(request.node)):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Measure the coverage of a test that may show what others don't.

    The many examples of a property reach what tests with one example reach as well.
    """
    with _traced(_tracers(pyfuncitem)):
        return (yield)


def _tracers(node: pytest.Item | pytest.Collector) -> Tracers:
    unmeasured = any(map(node.get_closest_marker, ("hypothesis", "unmeasured")))
    return UNTRACED if unmeasured else node.config.stash.get(TRACERS, UNTRACED)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no file whose tests are all of other sessions: each worker would, for seconds."""
    wanted = config.getoption("markexpr")
    if wanted not in SESSIONS or collection_path.suffix != ".py":
        return None
    marks = set(re.findall(r"\bmark\.(\w+)", collection_path.read_text(encoding="utf-8")))
    return True if marks & set(SESSIONS) - {wanted} and wanted not in marks else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the mark of the one session that runs it.

    Raises:
        pytest.UsageError: no session would run it, or two would.
    """
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        sessions = marks & set(SESSIONS)
        if not sessions and "integration" not in item.path.parts:
            item.add_marker("unit")
        elif len(sessions) != 1:
            problem = "two sessions run it" if sessions else "no session runs it"
            raise pytest.UsageError(f"{item.nodeid}: {problem}: mark it with one of {SESSIONS}")
        compiles = COMPILING & set(getattr(item, "fixturenames", ()))
        if compiles and "timeout" not in marks:
            item.add_marker(pytest.mark.timeout(2400))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print how many interleavings each simulation went through; write a column of the matrix."""
    if path := config.getoption("--matrix"):
        write_column(path, terminalreporter, go_tool("buildkitd"))
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "simulation" and report.when == "call":
                terminalreporter.write_line(str(value))


def pytest_configure(config: pytest.Config) -> None:
    """Let an interrupt be one, in the tests and in all that they start, and time decide nothing.

    A shell that starts pytest in the background has it ignored, as nohup has SIGHUP; and whoever
    inherits that waits.
    """
    measured = coverage.Coverage.current()
    if measured and config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        # The workers run all tests, and are measured as well.
        measured.stop()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # A slow machine is no finding.
    few = settings(deadline=None, suppress_health_check=[SLOW], max_examples=25)
    settings.register_profile("few examples", few)
    # `nox -s faults`, which runs every week, tries all of them.
    settings.register_profile("all examples", few, max_examples=500)
    settings.load_profile("few examples")


@pytest.fixture(scope="session", autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep records of the builds of tests away from those of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in MEASURED:
            patch.delenv(name)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        # What a workflow runs these tests for is not built by them.
        for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return what compares with golden files."""
    return Golden(update=request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def alpine() -> str:
    """Return the runtime base that this repository uses: one that is here, or can be had."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    match = re.search(r"^ARG ALPINE_VERSION=(\S+)", text, re.MULTILINE)
    assert match
    return f"alpine:{match[1]}"


@dataclass(frozen=True)
class Checkout:
    """A repository of somebody's, with tasks mounted, on which tasks are run as a user would."""

    root: Path
    image: str
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "invoke", *words]

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        merged: dict[str, str | None] = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "VERSION": None,
            "SOURCE_DATE_EPOCH": None,
            **self.env,
            **changes,
        }
        return {name: value for name, value in merged.items() if value is not None}

    def invoke(self, *words: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        """Run a task to its end, in this process; a variable that is None is taken out."""
        return run_task(words, self.root, self.environment(env))

    def invoke_process(self, *words: str, **env: str | None) -> subprocess.CompletedProcess[str]:
        """Run a task to its end in a process of its own: for what only a process shows."""
        return run_process(self.command(*words), self.root, self.environment(env))

    def start(self, *words: str, **env: str | None) -> subprocess.Popen[str]:
        """Start a process with a task; a variable that is None is taken out."""
        return start_task(self.command(*words), self.root, self.environment(env))

    def dockerfile(self, text: str) -> None:
        (self.root / "Dockerfile").write_text(text, encoding="utf-8")

    def git(self, *words: str) -> str:
        return git(self.root, *words)


# Coverage makes a process take twice as long: only one that shows what others don't is given these.
MEASURED = {name: text for name, text in os.environ.items() if name.startswith("COVERAGE_")}


def run_process(
    argv: Sequence[str], root: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end."""
    return subprocess.run(
        argv,
        cwd=root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )


def start_task(argv: Sequence[str], root: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a task in a process group of its own, as a terminal does."""
    return subprocess.Popen(
        argv,
        cwd=root,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )


def git(root: Path, *words: str) -> str:
    """Run git with a fixed identity and no configuration but the repository's own."""
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        # No sample hooks: they are more files than all others.
        "GIT_TEMPLATE_DIR": "",
        "GIT_AUTHOR_DATE": "2024-01-02T03:04:05Z",
        "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
    }
    identity = ("-c", "user.name=T", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    # A process less for each commit.
    options = ("-c", "protocol.file.allow=always", "-c", "maintenance.auto=false")
    done = subprocess.run(
        ["git", *identity, *options, *words],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def make_checkout(
    tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Checkout]]:
    """Return a maker of checkouts; the images that they built are removed at the end."""
    images: list[str] = []

    def make(
        dockerfile: str = "FROM scratch\n", config: str = "", folder: str = "repo"
    ) -> Checkout:
        root = tmp_path / folder
        root.mkdir(parents=True)
        image = f"buildlib-test-{secrets.token_hex(4)}"
        images.append(image)
        (root / "buildlib.toml").write_text(f'image = "{image}"\n{config}', encoding="utf-8")
        (root / "tasks.py").write_text(TASKS, encoding="utf-8")
        checkout = Checkout(root, image)
        checkout.dockerfile(dockerfile)
        return checkout

    yield make
    # Tests of the session `unit` build none.
    for image in images if not request.node.get_closest_marker("unit") else ():
        remove_images(image)


def remove_images(repository: str) -> None:
    """Remove every tag of a repository that a test built.

    By tag, never by ID: the same commit may have been built under somebody's own tag as well.
    """
    listing = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository, check=False)
    for reference in listing.split():
        docker("image", "rm", reference, check=False)


def docker(*words: str, check: bool = True) -> str:
    """Run docker and return what it prints.

    An image that another test removes while the engine lists them can make the listing fail.
    """
    for _ in range(4 if check and words[:2] == ("image", "ls") else 0):
        with suppress(subprocess.CalledProcessError):
            return _docker(words, check=True)
        time.sleep(0.2)
    return _docker(words, check=check)


def _docker(words: Sequence[str], *, check: bool) -> str:
    try:
        done = subprocess.run(
            ["docker", *words], capture_output=True, text=True, check=check, timeout=120
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


@pytest.fixture(scope="session", name="engine")
def _engine() -> str:
    """Return the engine's version; without an engine the test fails, it never skips."""
    version = docker("version", "--format", "{{.Server.Version}}", check=False)
    if not version:
        pytest.fail("no Docker engine answers; run this through scripts/bootstrap.sh")
    return version


@pytest.fixture
def end_group() -> Iterator[Callable[[subprocess.Popen[str]], None]]:
    """See to it that what a test started has ended, whatever became of the test."""
    started: list[subprocess.Popen[str]] = []
    yield started.append
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def shared(
    factory: pytest.TempPathFactory,
    name: str,
    make: Callable[[Path], str],
    remove: Callable[[str], None] = lambda _: None,
) -> Iterator[str]:
    """Have something made once for all workers of a session; the last one removes it.

    Args:
        factory: knows the folder of the session.
        name: of it.
        make: is given a folder; returns what is handed to each worker.
        remove: is given the same.
    """
    parent = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        parent = parent.parent
    folder = parent / f"shared-{name}"
    folder.mkdir(exist_ok=True)
    state, lock = folder / "state.json", folder / "lock"
    with _locked(lock):
        users, value = json.loads(state.read_text("utf-8")) if state.exists() else (0, "")
        value = value if users else make(folder)
        state.write_text(json.dumps([users + 1, value]), encoding="utf-8")
    yield value
    with _locked(lock):
        users, _ = json.loads(state.read_text("utf-8"))
        state.write_text(json.dumps([users - 1, value]), encoding="utf-8")
        if users == 1:
            remove(value)


def build_own(image: str, *words: str) -> None:
    """Build this repository's own image under a name of the tests'."""
    done = Checkout(ROOT, image, {"BUILDLIB_IMAGE": image}).invoke("docker-build", *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def own_image(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a tag of this repository's own image that no other worker has."""
    assert engine

    def make(_: Path) -> str:
        built = f"buildlib-test-built-{secrets.token_hex(4)}"
        build_own(built)
        return built

    image = f"buildlib-test-own-{secrets.token_hex(4)}"
    with shared(tmp_path_factory, "own-image", make, remove_images) as built:
        docker("tag", f"{built}:latest", f"{image}:latest")
        yield f"{image}:latest"
        remove_images(image)


@pytest.fixture(scope="session")
def own_archive(own_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return an OCI archive of this repository's own image, for all platforms."""

    def make(folder: Path) -> str:
        archive = folder / "image.tar"
        output = ("--output", f"type=oci,dest={archive}")
        build_own(own_image.partition(":")[0], "--platform", "all", *output)
        return str(archive)

    with shared(tmp_path_factory, "own-archive", make) as path:
        yield Path(path)


def load_script(name: str) -> ModuleType:
    """Return a script of this repository as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look it up there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


GOTOOLS = load_script("gotools")


def go_tool(name: str) -> Path:
    """Return a program of the toolchain that the tests run with; it is built once."""
    current = os.environ.get("BUILDLIB_TOOLCHAIN") == "current"
    return Path(GOTOOLS.ensure(name, os.environ, current=current))


@pytest.fixture(scope="session")
def grype() -> Path:
    """Return the pinned grype; it is built once, and stays in the cache."""
    return Path(GOTOOLS.ensure("grype", os.environ))


@pytest.fixture(scope="session")
def syft_path() -> str:
    """Return a PATH with the pinned syft; it is built once, and stays in the cache."""
    built = Path(GOTOOLS.ensure("syft", os.environ))
    return f"{built.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture(scope="session")
def referrers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the registry of tests/referrers, which knows the referrers API; built once."""

    def make(folder: Path) -> str:
        program = folder / "referrers"
        argv = [GOTOOLS.go_command(os.environ), "build", "-o", str(program), "."]
        subprocess.run(argv, cwd=ROOT / "tests/referrers", check=True)
        return str(program)

    with shared(tmp_path_factory, "referrers", make) as path:
        yield Path(path)


@pytest.fixture(scope="session", params=["cosign of this machine", "cosign 3"])
def cosign_path(request: pytest.FixtureRequest) -> str:
    """Return a PATH with one of the cosigns that are supported."""
    if request.param == "cosign 3":
        built = Path(GOTOOLS.ensure("cosign", os.environ))
        return f"{built.parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ["PATH"]


@pytest.fixture(scope="session")
def database(
    tmp_path_factory: pytest.TempPathFactory, grype: Path, syft_path: str
) -> Callable[..., dict[str, str | None]]:
    """Return a maker of databases: it returns the environment by which grype takes one.

    In that is syft as well.
    """

    def make(*advisories: Advisory, built: datetime | None = None) -> dict[str, str | None]:
        folder = tmp_path_factory.mktemp("grype")
        file = write_database(folder / "made.db", built or datetime.now(UTC), *advisories)
        env = {
            "GRYPE_DB_CACHE_DIR": str(folder / "cache"),
            "GRYPE_DB_AUTO_UPDATE": "false",
            "GRYPE_CHECK_FOR_APP_UPDATE": "false",
            "PATH": f"{grype.parent}{os.pathsep}{syft_path}",
        }
        argv = [str(grype), "db", "import", str(file)]
        subprocess.run(argv, env={**os.environ, **env}, check=True, capture_output=True)
        return dict(env)

    return make
