"""Measure, and print the table that benchmarks/README.md keeps.

Everything is measured in one run on one machine, so that what counts are the ratios. Options:
`--pairs N` (default 10), `--only PART` for one part; `--help` lists them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import secrets
import shlex
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))

from buildlib.config.load import load_config
from buildlib.containers.plan import confined_options

ROOT = Path(__file__).parent.parent
IMAGE = f"buildlib-bench-{secrets.token_hex(4)}"
PLATFORMS = "linux/amd64,linux/arm64"
PARTS = ("builds", "start", "run", "smoke", "publish", "history", "images", "init", "records")


def seconds(argv: Sequence[str], cwd: Path = ROOT) -> float:
    """Return how long a command takes, as a whole process; a failure ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(argv)} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def clock_and_cpu(argv: Sequence[str], cwd: Path) -> tuple[float, float]:
    """Return how long a command takes, and its processor time with that of what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = seconds(argv, cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def output(*argv: str, cwd: Path = ROOT) -> str:
    """Return what a command prints."""
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Row:
    """One line of the table: what, both figures as text, and the ratio or difference."""

    what: str
    old: str
    new: str
    result: str


class Builds:
    """Both Dockerfiles on a copy of the repository, with caches that nothing else has filled."""

    def __init__(self, folder: Path) -> None:
        """Copy what the build needs."""
        self._folder = folder
        for name in ("app", "scripts"):
            shutil.copytree(ROOT / name, folder / name)
        for name in (".dockerignore",):
            shutil.copy(ROOT / name, folder / name)
        shutil.copy(ROOT / "benchmarks" / "Dockerfile.seed", folder / "Dockerfile.seed")
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        # A cache mount of another name is an empty one; nobody's cache is touched.
        text = re.sub(r"id=[\w-]+", f"id={IMAGE}", text)
        (folder / "Dockerfile.new").write_text(text, encoding="utf-8")

    def build(self, kind: str, *options: str) -> float:
        """Build both platforms with one of the Dockerfiles; return seconds."""
        argv = [
            "docker",
            "buildx",
            "build",
            "--platform",
            PLATFORMS,
            "--provenance=false",
            "--load",
        ]
        argv += ["--file", f"Dockerfile.{kind}", "--tag", f"{IMAGE}:{kind}", *contexts(), *options]
        return seconds([*argv, "."], self._folder)

    def change_a_line(self) -> None:
        """Change one line of the program."""
        path = self._folder / "app" / "main.go"
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(looks at the images of)", f"\\1 {time.time_ns()}", text), "utf-8")


def contexts() -> list[str]:
    """Return the options for base images that are replaced, as buildlib would give them."""
    config = json.loads(output("invoke", "config", "--json"))
    pairs = config["base-images"]["value"]
    return [w for name, image in pairs for w in ("--build-context", f"{name}={image['source']}")]


def size(kind: str) -> int:
    """Return the bytes of an image, as the engine counts them."""
    return int(output("docker", "image", "inspect", "--format", "{{.Size}}", f"{IMAGE}:{kind}"))


def build_rows(folder: Path) -> list[Row]:
    """Measure cold, one line changed, nothing changed, and the size."""
    builds = Builds(folder)
    rows = []
    steps: list[tuple[str, Callable[[], None], tuple[str, ...]]] = [
        ("cold, both platforms", lambda: None, ("--no-cache",)),
        ("one source line changed", builds.change_a_line, ()),
        ("nothing changed", lambda: None, ()),
    ]
    for what, prepare, options in steps:
        prepare()
        old, new = builds.build("seed", *options), builds.build("new", *options)
        rows.append(Row(what, f"{old:.1f} s", f"{new:.1f} s", f"{old / new:.1f} times faster"))
        print(rows[-1], file=sys.stderr)
    old_size, new_size = size("seed"), size("new")
    rows.append(
        Row(
            "image",
            f"{old_size / 1e6:.1f} MB",
            f"{new_size / 1e6:.1f} MB",
            f"{old_size / new_size:.1f} times smaller",
        )
    )
    return rows


def start_rows(folder: Path, count: int) -> list[Row]:
    """Measure what the tasks cost, against an empty task of Invoke in the same run.

    What is ours is measured against a task that does nothing but import the same libraries.
    """
    (folder / "empty.py").write_text(EMPTY, encoding="utf-8")
    by_hand = shlex.split(output("invoke", "docker-build", "--dry-run"))
    other = ("invoke", f"--search-root={folder}", "--collection=empty")
    commands = {
        "empty": [*other, "empty"],
        "git": [*other, "git"],
        "both": [*other, "git-and-plumbum"],
        "version": ["invoke", "version"],
        "dry run": ["invoke", "docker-build", "--dry-run"],
        "completion": ["invoke", "--complete", "--", "inv", "docker-build", "--platform", ""],
        "by hand": by_hand,
        "build": ["invoke", "docker-build"],
        "info": ["docker", "info"],
        "bootstrap": ["scripts/bootstrap.sh", "true"],
    }
    runs = [{name: seconds(argv) for name, argv in commands.items()} for _ in range(count + 1)][1:]

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(of, runs))

    def took(name: str) -> str:
        return f"{median(itemgetter(name)):.2f} s"

    def times(name: str, floor: str) -> Row:
        whole = median(lambda run: run[name] / run["empty"])
        ours = median(lambda run: (run[name] - run[floor]) / run["empty"])
        library = median(lambda run: run[floor] / run["empty"])
        result = f"{whole:.2f} times, of which {library:.2f} its libraries; {ours:+.2f} empty tasks"
        return Row(
            f"an empty task / `{shlex.join(commands[name])}`", took("empty"), took(name), result
        )

    build = median(lambda run: (run["build"] - run["by hand"]) / run["empty"])
    ours = median(lambda run: (run["build"] - run["by hand"] - run["both"]) / run["empty"])
    completion = median(lambda run: run["completion"] - run["empty"])
    bootstrap = median(lambda run: run["bootstrap"] - run["info"])
    return [
        times("version", "git"),
        times("dry run", "git"),
        Row(
            *("an empty task / completion of `--platform`", took("empty"), took("completion")),
            f"{completion:+.2f} s",
        ),
        Row(
            "`docker buildx build` by hand / `invoke docker-build`, nothing changed",
            *(took("by hand"), took("build")),
            f"{build:+.2f} empty tasks, of which {ours:+.2f} ours",
        ),
        Row(
            "`docker info` / `scripts/bootstrap.sh true`",
            *(took("info"), took("bootstrap"), f"{bootstrap:+.2f} s"),
        ),
    ]


def free_port() -> int:
    """Return a port that nothing uses now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def record_places(folder: Path) -> list[Path]:
    """Make a context of 2,000 files twice, and a clone of this repository twice.

    Returns:
        Without records, and with them; then the clones in the same order.
    """
    places = []
    for name, line in (("off", "records = false\n"), ("on", "")):
        place = folder / name
        (place / "src").mkdir(parents=True)
        (place / "Dockerfile").write_text("FROM scratch\nCOPY src /src/\n", encoding="utf-8")
        (place / "buildlib.toml").write_text(f'image = "{IMAGE}"\n{line}', encoding="utf-8")
        (place / "tasks.py").write_text(MOUNTED, encoding="utf-8")
        places.append(place)
    for name, line in (("own-off", "records = false\n"), ("own-on", "")):
        place = folder / name
        output("git", "clone", "--quiet", str(ROOT), str(place))
        config = place / "pyproject.toml"
        text = config.read_text(encoding="utf-8")
        text = text.replace("[tool.buildlib]\n", f"[tool.buildlib]\n{line}", 1)
        config.write_text(text, encoding="utf-8")
        places.append(place)
    return places


def record_rows(folder: Path, count: int) -> list[Row]:
    """Measure `docker-build` with and without records: on the clock, and of the processors.

    The image of 2,000 files costs a record the most; this repository's image is a usual one.
    """
    off, on, *own = record_places(folder)
    places = [off, on]
    # Records of a benchmark are nobody's.
    os.environ["XDG_STATE_HOME"] = str(folder / "state")

    def changed() -> None:
        for place in places:
            for number in range(2000):
                text = secrets.token_hex(2000)
                (place / "src" / str(number)).write_text(text, encoding="utf-8")

    def line() -> None:
        for place in own:
            path = place / "app" / "main.go"
            text = path.read_text(encoding="utf-8")
            # What one of them builds must not be the other's cache.
            mark = f"\\1 {time.time_ns()}"
            path.write_text(re.sub(r"(looks at the images of)[ \d]*", mark, text), "utf-8")

    rows = []
    argv = ["invoke", "docker-build", "--output", "cacheonly"]
    for place in (*places, *own):
        # The first one is slower.
        seconds(argv, place)
    cases = (
        ("2,000 files, every file changed", places, changed),
        ("2,000 files, nothing changed", places, lambda: None),
        ("this repository, one source line changed", own, line),
        ("this repository, nothing changed", own, lambda: None),
    )
    for what, where, before in cases:
        measured = []
        for number in range(count):
            before()
            order = where if number % 2 else where[::-1]
            times = {place: clock_and_cpu(argv, place) for place in order}
            measured.append([times[place] for place in where])
        for which, name in enumerate(("on the clock", "of the processors")):
            pairs = [(without[which], with_one[which]) for without, with_one in measured]
            less, more = (statistics.median(times) for times in zip(*pairs, strict=True))
            cost = statistics.median(b - a for a, b in pairs)
            title = f"`docker-build` of {what}: without / with a record, {name}"
            result = f"{cost * 1000:+.0f} ms, {100 * cost / less:+.1f} %"
            rows.append(Row(title, f"{less:.2f} s", f"{more:.2f} s", result))
    return rows


def until_healthy(argv: Sequence[str], name: str, port: int, path: str = "/api/health") -> float:
    """Return how long it takes from a command to a healthy server; the container is removed."""
    started = time.perf_counter()
    seconds(argv)
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as answer:
                if answer.status == HTTPStatus.OK:
                    break
        except OSError:
            time.sleep(0.005)
    took = time.perf_counter() - started
    subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=True)
    return took


def run_rows(count: int) -> list[Row]:
    """Measure what `invoke docker-run` costs over the same `docker run`, each until healthy."""
    seconds(["invoke", "docker-build"])
    port = free_port()
    name = f"{IMAGE}-run"
    options = ["--name", name, "--port", str(port)]
    line = shlex.split(output("invoke", "docker-run", "--dry-run", *options))
    task = ["invoke", "docker-run", "--detach", "--no-build", *options]
    measured = [
        (until_healthy(line, name, port), until_healthy(task, name, port)) for _ in range(count + 1)
    ][1:]
    old, new = (statistics.median(times) for times in zip(*measured, strict=True))
    difference = statistics.median(b - a for a, b in measured)
    what = "`docker run` by hand until healthy / `invoke docker-run --detach --no-build`"
    return [Row(what, f"{old:.2f} s", f"{new:.2f} s", f"{difference:+.2f} s")]


SERVER = """\
FROM alpine:{alpine}
COPY index.html /www/
USER 1000:1000
EXPOSE 8080
HEALTHCHECK CMD wget -q -O /dev/null http://127.0.0.1:8080/ || exit 1
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
"""


def init_rows(folder: Path, count: int) -> list[Row]:
    """Measure `init --yes` and `docker-run` against `docker build` and `docker run` by hand.

    Each begins in a new directory with nothing but a Dockerfile and a file of its own, so that
    something is built.
    """
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    alpine = re.findall(r"^ARG ALPINE_VERSION=(\S+)", dockerfile, re.MULTILINE)[0]
    options, name = shlex.join(contexts()), f"{IMAGE}-init"
    buildlib = f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m buildlib"

    def measured(number: int, kind: str, line: str) -> float:
        root, port = folder / f"{kind}{number}" / name, free_port()
        root.mkdir(parents=True)
        (root / "Dockerfile").write_text(SERVER.format(alpine=alpine), encoding="utf-8")
        (root / "index.html").write_text(f"{kind} {number} {IMAGE}\n", encoding="utf-8")
        script = f"cd {shlex.quote(str(root))} && {line.format(port=port)}"
        return until_healthy(["sh", "-c", script], name, port, "/")

    hand = (
        f"docker buildx build {options} --provenance=false --load --tag {name} . && docker run "
        f"--detach --name {name} --publish 127.0.0.1:{{port}}:8080 {name}"
    )
    tasks = f"{buildlib} init --yes && {buildlib} docker-run --detach --port {{port}}"
    try:
        pairs = [
            (measured(number, "hand", hand), measured(number, "tasks", tasks))
            for number in range(count + 1)
        ][1:]
    finally:
        tags = output("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", name)
        subprocess.run(["docker", "image", "rm", *tags.split()], capture_output=True, check=False)
    old, new = (statistics.median(times) for times in zip(*pairs, strict=True))
    share = statistics.median(b / a for a, b in pairs)
    what = "`docker build` and `docker run` by hand / `buildlib init --yes` and `docker-run`"
    return [Row(what, f"{old:.2f} s", f"{new:.2f} s", f"{share:.2f} times as long")]


class Containers:
    """The containers that smoke needs, started one after another by hand."""

    def __init__(self) -> None:
        """Build the image for both platforms, under a name of our own."""
        self._config = load_config(ROOT, os.environ)
        self.image = f"{IMAGE}:new"
        tag = ("--tag", self.image)
        seconds(["invoke", "docker-build", "--platform", "all", *tag])

    def _docker_run(self, platform: str, *words: str) -> list[str]:
        confined = confined_options(self._config.run)
        return ["docker", "run", "--platform", platform, *confined, *words]

    def by_hand(self) -> float:
        """Return how long they take: the commands to their end, each server until healthy."""
        smoke = self._config.smoke
        commands = [list(command.run) for command in smoke.commands]
        # One without a socket, one with the engine's own, and one for each other group.
        servers = len(smoke.socket_groups) + 2
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = int(listener.getsockname()[1])
        started = time.perf_counter()
        for platform in map(str, self._config.platforms):
            for words in (*commands, list(smoke.version_command)):
                argv = self._docker_run(platform, "--rm", self.image, *words)
                subprocess.run(argv, capture_output=True, check=False)
            for number in range(servers):
                name = f"{IMAGE}-{number}"
                publish = (
                    "--detach",
                    "--name",
                    name,
                    "--publish",
                    f"127.0.0.1:{port}:{smoke.port}",
                )
                until_healthy(self._docker_run(platform, *publish, self.image), name, port)
        return time.perf_counter() - started


def smoke_rows(count: int) -> list[Row]:
    """Measure the whole smoke of both platforms against the time that its containers take."""
    containers = Containers()
    task = ["invoke", "docker-smoke", "--platform", "all"]
    seconds(task)
    measured = [(containers.by_hand(), seconds(task)) for _ in range(max(1, count // 3))]
    old, new = (statistics.median(times) for times in zip(*measured, strict=True))
    share = statistics.median(b / a for a, b in measured)
    what = "the same containers by hand, one after another / `invoke docker-smoke --platform all`"
    return [Row(what, f"{old:.1f} s", f"{new:.1f} s", f"{share:.2f} times as long")]


def publish_rows(count: int) -> list[Row]:
    """Measure a whole release to two registries against the lines of its own dry run.

    Both begin with empty registries and a warm build cache; the scan, which needs a database of
    its own, is left out of both.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from conftest import git  # noqa: PLC0415 - what only this row needs
    from registries import registry  # noqa: PLC0415 - the same
    from releases import Release, own_release  # noqa: PLC0415 - the same

    gates = '[tool.buildlib.publish]\ngates = ["smoke", "policy", "size", "sbom"]\n'

    def by_hand(release: Release) -> float:
        script = release.invoke("docker-publish", "--dry-run").stdout
        started = time.perf_counter()
        argv = ["bash", "-euc", script]
        subprocess.run(argv, cwd=release.root, env=release.env, capture_output=True, check=True)
        return time.perf_counter() - started

    def at_once(release: Release) -> float:
        started = time.perf_counter()
        done = release.invoke("docker-publish")
        if done.returncode != 0:
            sys.exit(done.stderr[-2000:])
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory(prefix="buildlib-bench-") as temporary:
        folder = Path(temporary)
        with registry(folder / "first") as first, registry(folder / "second") as second:
            release = own_release(folder / "work", [first, second], {}, path="team/own", more=gates)
            git(release.root, "add", "--all")
            git(release.root, "commit", "--quiet", "--message", "release")
            git(release.root, "tag", "v1.0.0")
            at_once(release)
            measured = []
            for _ in range(max(1, count // 3)):
                release.forget()
                hand = by_hand(release)
                release.forget()
                measured.append((hand, at_once(release)))
    old, new = (statistics.median(times) for times in zip(*measured, strict=True))
    share = statistics.median(a / b for a, b in measured)
    what = "the steps of a release by hand, one after another / `invoke docker-publish`"
    return [Row(what, f"{old:.1f} s", f"{new:.1f} s", f"{share:.2f} times faster")]


IMAGES = 100
COMMITS, TAGS = 50_000, 5_000
MOUNTED = f"""\
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from buildlib.tasks import collection
namespace = collection(Path(__file__).parent, complete=True)
"""
EMPTY = """\
from invoke.tasks import task
@task
def empty(context):
    pass
@task
def git(context):
    import git
@task
def git_and_plumbum(context):
    import git
    import plumbum
"""


def grow_history(folder: Path) -> None:
    """Make a repository of many commits and annotated tags, and check it out."""
    lines = ["blob", "mark :1", "data 2", "x"]
    for number in range(COMMITS):
        person = f"A <a@example.org> {1_600_000_000 + 60 * number} +0000"
        lines += ["commit refs/heads/main", f"mark :{number + 10}", f"committer {person}"]
        lines += ["data 2", "c", f"M 100644 :1 d{number % 50}/f{number % 1000}", ""]
        # The last commits have none: a snapshot is what has to look back.
        if number % (COMMITS // TAGS) == 0:
            minor, patch = divmod(number * TAGS // COMMITS, 10)
            lines += [f"tag v0.{minor}.{patch}", f"from :{number + 10}", f"tagger {person}"]
            lines += ["data 2", "t"]
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run(
        [*git, "fast-import", "--quiet"], input="\n".join(lines) + "\n", text=True, check=True
    )
    subprocess.run([*git, "checkout", "--quiet", "--force", "main"], check=True)
    (folder / "buildlib.toml").write_text('image = "x"\n', encoding="utf-8")
    (folder / "tasks.py").write_text(MOUNTED, encoding="utf-8")
    (folder / "empty.py").write_text(EMPTY, encoding="utf-8")


def history_rows(folder: Path, count: int) -> list[Row]:
    """Measure `invoke version` against git itself and an empty task, on a large repository."""
    grow_history(folder)
    describe = ["git", "describe", "--tags", "--always", "--dirty"]
    commands = (describe, ["invoke", "--collection=empty", "empty"], ["invoke", "version"])
    rows = []
    for refs in ("refs as fast-import leaves them", "refs packed, as in a clone"):
        if refs.startswith("refs packed"):
            subprocess.run(["git", "pack-refs", "--all"], cwd=folder, check=True)
        for command in commands:
            seconds(command, folder)
        measured = [[seconds(command, folder) for command in commands] for _ in range(count)]
        git, empty, version = (statistics.median(times) for times in zip(*measured, strict=True))
        share = statistics.median(v / (1.5 * g + e) for g, e, v in measured)
        rows.append(
            Row(
                f"{COMMITS:,} commits, {TAGS:,} tags, {refs}: `git describe`, an empty task"
                " / `invoke version`",
                f"{git:.3f} s, {empty:.3f} s",
                f"{version:.3f} s",
                f"{share:.2f} of 1.5 describe + empty",
            )
        )
    return rows


def grow_images(folder: Path) -> None:
    """Make a repository of many images, one of which differs from its last commit."""
    tables = []
    for number in range(IMAGES):
        source = folder / f"services/image-{number:02}/src"
        source.mkdir(parents=True)
        for file in range(5):
            (source / f"{file}.c").write_text("int x;\n", encoding="utf-8")
        text = "FROM alpine AS build\nCOPY src/ /src/\nFROM scratch\nCOPY --from=build /o /\n"
        (source.parent / "Dockerfile").write_text(text, encoding="utf-8")
        tables.append(f'[images.image-{number:02}]\ncontext = "services/image-{number:02}"\n')
    (folder / "buildlib.toml").write_text("\n".join(['image = "x"', *tables]), encoding="utf-8")
    (folder / "tasks.py").write_text(MOUNTED, encoding="utf-8")
    (folder / "empty.py").write_text(EMPTY, encoding="utf-8")
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message=all"]):
        subprocess.run([*git, *words], check=True)
    (folder / "services/image-07/src/0.c").write_text("int y;\n", encoding="utf-8")


def images_rows(folder: Path, count: int) -> list[Row]:
    """Measure what a hundred images cost over one, and over an empty task."""
    grow_images(folder)
    dry = ["invoke", "docker-build", "--dry-run"]
    commands = (
        ["invoke", "--collection=empty", "empty"],
        [*dry, "--only", "image-07"],
        [*dry, "--changed", "HEAD"],
    )
    for command in commands:
        seconds(command, folder)
    measured = [[seconds(command, folder) for command in commands] for _ in range(count)]
    empty, one, changed = (statistics.median(times) for times in zip(*measured, strict=True))
    share = statistics.median(c / o for _, o, c in measured)
    what = f"{IMAGES} images: an empty task, `docker-build --only image-07 --dry-run` / `--changed`"
    return [Row(what, f"{empty:.3f} s, {one:.3f} s", f"{changed:.3f} s", f"{share:.2f} times one")]


def machine() -> str:
    """Return what it was measured on."""
    docker = output("docker", "version", "--format", "{{.Server.Version}}")
    buildx = output("docker", "buildx", "version").split()[1]
    return f"{os.cpu_count()} cores, Docker {docker}, buildx {buildx}, {sys.version.split()[0]}"


def part_rows(part: str, count: int) -> list[Row]:
    """Measure one part, most of them in a new directory."""
    alone = {"run": run_rows, "smoke": smoke_rows, "publish": publish_rows}
    if part in alone:
        return alone[part](count)
    below: dict[str, Callable[[Path, int], list[Row]]] = {
        "builds": lambda folder, _: build_rows(folder),
        "start": start_rows,
        "history": history_rows,
        "images": images_rows,
        "init": init_rows,
        "records": record_rows,
    }
    with tempfile.TemporaryDirectory(prefix="buildlib-bench-") as folder:
        return below[part](Path(folder), count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    rows: list[Row] = []
    try:
        for part in [given.only] if given.only else PARTS:
            rows += part_rows(part, given.pairs)
    finally:
        for kind in ("seed", "new"):
            subprocess.run(
                ["docker", "image", "rm", "--force", f"{IMAGE}:{kind}"],
                capture_output=True,
                check=False,
            )
    print(f"{machine()}\n\n| | old | new | |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.old} | {row.new} | {row.result} |")


if __name__ == "__main__":
    main()
