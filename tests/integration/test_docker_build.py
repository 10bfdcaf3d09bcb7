"""`invoke docker-build` on the real engine, as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Checkout, docker, git, remove_images
from gitscript import commit_all

from buildlib.config.load import load_config
from buildlib.records.store import open_store

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
Make = Callable[..., Checkout]


def _simple(alpine: str, *lines: str) -> str:
    return "\n".join([f"FROM {alpine}", "ARG VERSION", *lines, ""])


def _labels(reference: str) -> dict[str, str]:
    return dict(
        json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", reference))
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone of this repository as it is now, tagged v1.2.3 and clean."""
    root = tmp_path_factory.mktemp("clone") / "repo"
    root.mkdir()
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
            (root / name).chmod((ROOT / name).stat().st_mode)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "all of it")
    git(root, "tag", "v1.2.3")
    return root


@pytest.fixture
def product(repository: Path) -> Iterator[Checkout]:
    """Return the clone, whose image has a name of its own that is removed at the end."""
    image = f"buildlib-test-product-{os.getpid()}"
    yield Checkout(repository, image, {"BUILDLIB_IMAGE": image})
    remove_images(image)


@pytest.mark.toolchain
def test_the_version_is_in_the_image_on_both_platforms(product: Checkout) -> None:
    done = product.invoke("docker-build", "--platform", "all", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["references"] == [f"{product.image}:1.2.3", f"{product.image}:latest"]
    assert result["platforms"] == ["linux/amd64", "linux/arm64"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", result["digest"])
    for arch in ("amd64", "arm64"):
        run = ("run", "--rm", "--platform", f"linux/{arch}", f"{product.image}:latest")
        assert docker(*run, "version") == "1.2.3"
        told = json.loads(docker(*run, "version", "--json"))
        assert told["platform"] == f"linux/{arch}"
        assert told["revision"] == product.git("rev-parse", "HEAD")
        assert told["created"] == "2024-01-02T03:04:05Z"
    assert _labels(f"{product.image}:1.2.3")["org.opencontainers.image.version"] == "1.2.3"


@pytest.mark.toolchain
def test_the_image_is_as_the_security_rules_want_it(product: Checkout) -> None:
    assert product.invoke("docker-build").returncode == 0
    inspected = docker(
        "image", "inspect", "--format", "{{json .Config}}", f"{product.image}:latest"
    )
    config = json.loads(inspected)
    # For the entrypoint alone: test_documented_commands.py sees what runs after it, and
    # test_structure.py the rights and owners of all files.
    assert config["User"] == "0:0"
    program = "/usr/local/bin/dockerutilities"
    check = [program, "run-as", "--user", "1001:1001", "--", program, "healthcheck"]
    assert config["Healthcheck"]["Test"] == ["CMD", *check]
    assert list(config["Volumes"]) == ["/app/data"]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["StopSignal"] == "SIGTERM"
    labels = config["Labels"]
    assert labels["org.opencontainers.image.revision"] == product.git("rev-parse", "HEAD")
    assert labels["org.opencontainers.image.created"] == "2024-01-02T03:04:05Z"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.base.name"].startswith("docker.io/library/alpine:")


def test_an_image_on_stand_ins_says_so_and_one_on_real_bases_does_not(product: Checkout) -> None:
    done = product.invoke("docker-build")
    label = _labels(f"{product.image}:latest").get("buildlib.stand-ins", "")
    mapped = os.environ.get("BUILDLIB_BASE_IMAGES", "")
    stand_ins = bool(mapped) and "stand-in = true" in Path(mapped).read_text(encoding="utf-8")
    assert bool(label) is stand_ins
    assert ("built on placeholders" in done.stderr) is stand_ins


def test_the_variable_wins_and_a_new_version_links_again_and_compiles_nothing(
    product: Checkout,
) -> None:
    done = product.invoke("docker-build", VERSION="v9.8.7")
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", f"{product.image}:9.8.7", "version") == "9.8.7"
    result = json.loads(product.invoke("docker-build", "--json", VERSION="9.8.8").stdout)
    assert result["steps"] - result["cached"] <= 3
    assert result["seconds"] < 60


def test_the_dry_run_is_one_line_that_a_shell_runs_as_it_stands(product: Checkout) -> None:
    lines = []
    for words in (("docker-build", "--dry-run"), ("--dry", "docker-build")):
        done = product.invoke(*words)
        assert done.returncode == 0, done.stderr
        lines += done.stdout.splitlines()
    assert len(lines) == 2
    assert shlex.split(lines[0])[:3] == ["docker", "buildx", "build"]
    ran = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert docker("run", "--rm", f"{product.image}:1.2.3", "version") == "1.2.3"
    # It would stay behind.
    assert "--metadata-file" not in lines[0]


def test_the_dry_run_is_the_line_that_a_real_run_echoes(product: Checkout) -> None:
    dry = product.invoke("docker-build", "--dry-run").stdout.strip()
    real = product.invoke("docker-build").stderr
    echoed = next(line for line in real.splitlines() if line.startswith("$ "))
    assert echoed.removeprefix("$ ") == dry


@pytest.mark.toolchain
def test_the_same_commit_gives_the_same_digest(product: Checkout) -> None:
    first = json.loads(product.invoke("docker-build", "--json").stdout)
    again = json.loads(product.invoke("docker-build", "--json").stdout)
    assert first["digest"] == again["digest"]
    assert again["cached"] == again["steps"] > 0


@pytest.mark.toolchain
def test_binaries_come_out_of_the_build(product: Checkout) -> None:
    done = product.invoke("binary", "--platform", "linux/amd64", "--platform", "linux/arm64")
    assert done.returncode == 0, done.stderr
    machines = {"linux-amd64": 0x3E, "linux-arm64": 0xB7}
    for slug, machine in machines.items():
        data = (product.root / "bin" / slug / "dockerutilities").read_bytes()
        assert data[:4] == b"\x7fELF"
        assert data[18] == machine
    shown = subprocess.run(
        [product.root / "bin/linux-amd64/dockerutilities", "version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "1.2.3\n"
    removed = product.invoke("clean", "--dry-run").stdout.split()
    assert removed == ["bin/linux-amd64", "bin/linux-arm64"]
    assert (product.root / "bin/linux-amd64").exists()
    assert product.invoke("clean").returncode == 0
    assert not (product.root / "bin/linux-amd64").exists()


@pytest.mark.toolchain
@pytest.mark.parametrize("progress", ["auto", "plain", "rawjson"])
def test_a_compile_error_ends_with_the_compilers_own_lines(
    product: Checkout, progress: str
) -> None:
    source = product.root / "app" / "main.go"
    good = source.read_text(encoding="utf-8")
    try:
        source.write_text(good + "\nfunc broken( {\n", encoding="utf-8")
        done = product.invoke("docker-build", "--progress", progress, BUILDKIT_PROGRESS="plain")
    finally:
        source.write_text(good, encoding="utf-8")
    assert done.returncode == 4
    assert "main.go" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


ODD = ["a,b", "a\nb", "a'\"b", "$HOME `x`", "ünïcödé ☃", "a=b=c", "--x", " "]


def test_build_args_arrive_unchanged(make_checkout: Make, alpine: str) -> None:
    given = {f"X{number}": value for number, value in enumerate(ODD)}
    kept = "".join(f'ARG {name}\nRUN printf %s "${name}" > /out/{name}\n' for name in given)
    checkout = make_checkout(
        f"FROM {alpine} AS build\nRUN mkdir /out\n{kept}FROM scratch\nCOPY --from=build /out /\n"
    )
    words = [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
    done = checkout.invoke("docker-build", *words, "--output", "type=local,dest=out")
    assert done.returncode == 0, done.stderr
    out = checkout.root / "out"
    assert {one.name: one.read_text(encoding="utf-8") for one in out.iterdir()} == given


@pytest.mark.parametrize("name", ["with blank", "quo'te\"", "new\nline", "ünï", "-dash", "a,b=c"])
def test_a_checkout_under_an_odd_path(make_checkout: Make, alpine: str, name: str) -> None:
    checkout = make_checkout(_simple(alpine, "COPY buildlib.toml /"), folder=name)
    done = checkout.invoke("docker-build", "--output", "oci", "--json")
    assert done.returncode == 0, done.stderr
    assert tarfile.is_tarfile(json.loads(done.stdout)["destination"])


@pytest.mark.toolchain
def test_an_undeclared_build_arg_warns_and_strict_refuses(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine))
    done = checkout.invoke("docker-build", "--build-arg", "VERISON=1")
    assert done.returncode == 0, done.stderr
    assert "declares no ARG VERISON; it declares VERSION" in done.stderr
    assert checkout.invoke("docker-build", "--build-arg", "VERISON=1", "--strict").returncode == 2


def test_an_epoch_of_zero_is_used_and_shown(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine))
    done = checkout.invoke("docker-build", SOURCE_DATE_EPOCH="0")
    assert "SOURCE_DATE_EPOCH=0" in done.stderr
    created = docker("image", "inspect", "--format", "{{.Created}}", f"{checkout.image}:latest")
    assert created == "1970-01-01T00:00:00Z"


@pytest.mark.toolchain
def test_a_secret_is_used_and_left_nowhere(make_checkout: Make, alpine: str) -> None:
    digest = hashlib.sha256(b"hunter2").hexdigest()
    checkout = make_checkout(
        _simple(alpine, f"RUN --mount=type=secret,id=S sha256sum /run/secrets/S | grep {digest}")
    )
    done = checkout.invoke("docker-build", "--secret", "id=S,env=S", S="hunter2")
    assert done.returncode == 0, done.stderr
    history = docker("history", "--no-trunc", f"{checkout.image}:latest")
    assert "hunter2" not in done.stdout + done.stderr + history


@pytest.mark.toolchain
def test_a_proxy_is_handed_on_and_its_password_shown_nowhere(
    make_checkout: Make, alpine: str
) -> None:
    proxy = "http://me:hunter2@127.0.0.1:9"
    checkout = make_checkout(_simple(alpine, f'RUN test "$HTTP_PROXY" = "{proxy}"'))
    # The Dockerfile has the password only because the test compares; it stays out of what we say.
    done = checkout.invoke(
        "docker-build", HTTP_PROXY=proxy, HTTPS_PROXY=None, BUILDLIB_PROGRESS="auto"
    )
    assert done.returncode == 0, done.stderr
    shown = [line for line in (done.stdout + done.stderr).splitlines() if "RUN test" not in line]
    assert "hunter2" not in "\n".join(shown)
    line = checkout.invoke("docker-build", "--dry-run", HTTP_PROXY=proxy).stdout
    assert "--build-arg HTTP_PROXY " in line


def test_credentials_in_the_remote_reach_no_label(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine))
    commit_all(checkout.root)
    checkout.git("remote", "add", "origin", "https://me:hunter2@example.org/me/x.git")
    done = checkout.invoke("docker-build")
    labels = _labels(f"{checkout.image}:latest")
    assert labels["org.opencontainers.image.source"] == "https://example.org/me/x"
    assert "hunter2" not in done.stdout + done.stderr + json.dumps(labels)


def test_output_that_is_not_utf8_is_shown(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine, r"RUN printf 'be\377fore\n'; exit 9"))
    done = checkout.invoke("docker-build")
    assert done.returncode == 4
    assert "be\ufffdfore" in done.stderr


def test_two_builds_of_one_repository_at_once(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine, "RUN sleep 1"))
    both = [checkout.start("docker-build", "--output", "oci", "--json") for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=250)
        assert process.returncode == 0, out
    (archive,) = (checkout.root / "dist").iterdir()
    with tarfile.open(archive) as opened:
        assert "index.json" in opened.getnames()


def test_builds_of_one_tag_at_once(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine, "RUN echo x"))
    both = [checkout.start("docker-build", "--json") for _ in range(4)]
    for process in both:
        out, _ = process.communicate(timeout=250)
        assert process.returncode == 0, out
    assert docker("image", "ls", "--quiet", f"{checkout.image}:latest")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_build_leaves_nothing_and_can_be_run_again(
    make_checkout: Make,
    alpine: str,
    tmp_path: Path,
    end_group: Callable[[subprocess.Popen[str]], None],
    number: signal.Signals,
) -> None:
    checkout = make_checkout(_simple(alpine, "ARG WAIT=300", "RUN echo waiting; sleep $WAIT"))
    temporary = tmp_path / "temporary files"
    temporary.mkdir()
    process = checkout.start("docker-build", TMPDIR=str(temporary))
    end_group(process)
    assert process.stdout
    for line in process.stdout:
        if "waiting" in line and "RUN" not in line:
            break
    started = time.monotonic()
    # A terminal sends Ctrl-C to the whole group; a service manager ends one process.
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    rest = process.stdout.read()
    assert process.wait(timeout=120) == 130, rest
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert time.monotonic() - started < 60
    assert list(temporary.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    store = open_store(load_config(checkout.root, {}), os.environ)
    assert store
    (record,) = store.usable()
    assert record.result == "interrupted"
    assert "waiting" in str([step.log for step in record.steps])
    assert checkout.invoke("docker-build", "--build-arg", "WAIT=0").returncode == 0


def test_an_archive_outlives_a_build_that_fails_or_is_interrupted(
    make_checkout: Make, alpine: str, end_group: Callable[[subprocess.Popen[str]], None]
) -> None:
    checkout = make_checkout(
        _simple(alpine, "ARG WAIT=0", "RUN echo waiting; sleep $WAIT && test $WAIT = 0")
    )
    words = ("docker-build", "--output", "oci")
    assert checkout.invoke(*words).returncode == 0
    (archive,) = (checkout.root / "dist").iterdir()
    before = archive.read_bytes()
    assert checkout.invoke(*words, "--build-arg", "WAIT=1").returncode == 4
    process = checkout.start(*words, "--build-arg", "WAIT=300")
    end_group(process)
    assert process.stdout
    assert any("waiting" in line and "RUN" not in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(timeout=120) == 130, rest
    assert list((checkout.root / "dist").iterdir()) == [archive]
    assert archive.read_bytes() == before


@pytest.mark.toolchain
def test_the_dry_run_of_an_archive_runs_in_a_fresh_clone(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine))
    line = checkout.invoke("docker-build", "--output", "oci", "--dry-run").stdout.strip()
    assert not (checkout.root / "dist").exists()
    ran = subprocess.run(
        ["sh", "-c", line], cwd=checkout.root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (archive,) = (checkout.root / "dist").iterdir()
    assert tarfile.is_tarfile(archive)
    words = shlex.split(line)
    echoed = checkout.invoke("docker-build", "--output", "oci").stderr
    real = next(one for one in echoed.splitlines() if one.startswith("$ "))
    assert shlex.split(real)[1:5] == words[:4]
    assert shlex.split(real)[-5:] == words[-5:]


def test_without_a_home_and_with_a_temporary_directory_elsewhere(
    make_checkout: Make, alpine: str, tmp_path: Path
) -> None:
    checkout = make_checkout(_simple(alpine))
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = checkout.invoke_process("docker-build", HOME=None, TMPDIR=str(elsewhere))
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []


def _as_somebody(words: list[str], uid: int = 65534) -> list[str]:
    """Return a command that runs as nobody, with the engine's group, and reads what root may.

    Reading only: an interpreter below root's home would otherwise not start.
    """
    if os.geteuid() != 0:
        return words
    group = Path("/var/run/docker.sock").stat().st_gid
    return [
        *("setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={group}"),
        *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", *words),
    ]


def test_a_user_who_may_not_write_the_checkout_builds(make_checkout: Make, alpine: str) -> None:
    checkout = make_checkout(_simple(alpine))
    checkout.root.chmod(0o555)
    try:
        done = subprocess.run(
            _as_somebody(checkout.command("docker-build")),
            cwd=checkout.root,
            env=checkout.environment({"HOME": "/nonexistent"}),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        checkout.root.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in checkout.root.iterdir()} == {
        "Dockerfile",
        "buildlib.toml",
        "tasks.py",
    }


@pytest.mark.parametrize(
    ("uid", "home"),
    [
        pytest.param(54321, None, id="a user whom the system does not know"),
        pytest.param(65534, ".", id="docker's directory can't be written"),
    ],
)
def test_a_user_without_a_home_to_write_to_builds(
    make_checkout: Make, alpine: str, tmp_path: Path, uid: int, home: str | None
) -> None:
    checkout = make_checkout(_simple(alpine))
    (tmp_path / ".docker").mkdir(mode=0o555)
    tmp_path.chmod(0o777)
    done = subprocess.run(
        _as_somebody(checkout.command("docker-build"), uid),
        cwd=checkout.root,
        env=checkout.environment({"HOME": home and str(tmp_path), "DOCKER_CONFIG": None}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / ".docker").iterdir()) == []


def test_a_terminal_gets_colour_unless_the_user_wants_none(
    make_checkout: Make, alpine: str
) -> None:
    checkout = make_checkout(_simple(alpine))
    line = shlex.join(checkout.command("docker-build"))
    seen = {}
    for name, env in {
        "colour": {"TERM": "xterm"},
        "none": {"TERM": "xterm", "NO_COLOR": "1"},
    }.items():
        done = subprocess.run(
            ["script", "--quiet", "--return", "--command", line, "/dev/null"],
            cwd=checkout.root,
            env=checkout.environment({"NO_COLOR": None, **env}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout
        # Of the sequences of a terminal, those that end with m are its colours.
        seen[name] = bool(re.search(r"\x1b\[[0-9;]*m", done.stdout))
    assert seen == {"colour": True, "none": False}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_smoke_leaves_no_container(
    make_checkout: Make,
    alpine: str,
    end_group: Callable[[subprocess.Popen[str]], None],
    number: signal.Signals,
) -> None:
    stubborn = 'commands = [["sh", "-c", "trap : TERM INT; while :; do sleep 1; done"]]'
    checkout = make_checkout(_simple(alpine), f"[smoke]\n{stubborn}\n")
    process = checkout.start("docker-smoke")
    end_group(process)
    _wait_for_smoke(checkout)
    assert _smoke_containers(checkout)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert docker("image", "ls", "--quiet", checkout.image) == ""
    assert _smoke_containers(checkout) == []


def _smoke_containers(checkout: Checkout) -> list[str]:
    """Return the containers of a checkout's smoke: whatever runs beside a test has its own.

    Not by `ancestor`, which finds none where the image has lost its tag meanwhile.
    """
    label = "label=buildlib.smoke"
    there = docker("ps", "--all", "--quiet", "--filter", label).split()
    form = "{{.Config.Image}} {{.Name}}"
    # One that has gone since then is told on stderr, and is nobody's here.
    found = docker("container", "inspect", "--format", form, *there, check=False) if there else ""
    return [line for line in found.splitlines() if line.startswith(f"{checkout.image}:")]


def _wait_for_smoke(checkout: Checkout) -> None:
    """Wait until smoke runs a container of the checkout's image."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for identifier in docker("image", "ls", "--quiet", checkout.image).split():
            if docker("ps", "--quiet", "--filter", f"ancestor={identifier}"):
                return
        time.sleep(0.1)
    pytest.fail("smoke started no container")
