"""Images that say something themselves: their group, signal, PATH, health, and what they need."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest
from conftest import Checkout, docker

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("engine")]
MakeCheckout = Callable[..., Checkout]


@dataclass(frozen=True)
class Image:
    """An image, its configuration, and the checks that fail with a part of why."""

    lines: str
    smoke: str = ""
    run: str = ""
    failed: tuple[tuple[str, str], ...] = ()
    more: str = ""
    base: str = "FROM {alpine}\n"


SERVE = "echo $VERSION > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
SERVER = f'CMD ["sh", "-c", "{SERVE}"]\n'
PORT = 'port = 8080\nhealth-path = "/index.html"\n'
# A program and what it is linked with, and nothing else: no shell, no /sbin.
BARE = """\
FROM {alpine} AS files
RUN mkdir -p /out/opt/bin /out/www /out/lib && echo x > /out/www/index.html \\
  && cp /bin/busybox /out/opt/bin/httpd && { cp /lib/ld-musl-*.so.1 /out/lib/ || true; }
FROM scratch
COPY --from=files /out/ /
ENV PATH=/opt/bin
"""
IN_GROUPS = (
    "RUN echo 'app:x:1000:3000::/:/bin/sh' >> /etc/passwd"
    " && echo 'own:x:3000:' >> /etc/group && echo 'more:x:2000:app' >> /etc/group\n"
)
NEEDS = (
    'test \\"$NAME $FILE\\" = \'a b c\' && test \\"$(cat /conf/x)\\" = mounted'
    " && grep -q 'far.example' /etc/hosts && wget -q -O /tmp/index.html http://db:8080/"
    " && { while :; do nc -l -p 9090 -e cat; done & exec httpd -f -p 8080 -h /tmp; }"
)
IMAGES = {
    "options of a tmpfs, and a real-time stop signal": Image(
        f"STOPSIGNAL SIGRTMIN+3\nUSER 1000:1000\n{SERVER}",
        PORT,
        'tmpfs = ["/tmp:exec,size=64m"]\n',
    ),
    "a program in a tmpfs": Image(
        "USER 1000\n"
        'CMD ["sh", "-c", "cp /bin/busybox /tmp/httpd && exec /tmp/httpd -f -p 8080"]\n',
        PORT,
        failed=(("healthy", 'tmpfs = ["/tmp:exec"] in [run] allows it'),),
    ),
    "a user in group root, and a stop signal by name": Image(
        f"STOPSIGNAL SIGQUIT\nUSER 1000:0\n{SERVER}", PORT, "user = 1000\n"
    ),
    "a user that is a number, and a stop signal that is one": Image(
        f"STOPSIGNAL 10\nUSER 1000\n{SERVER}", PORT, "user = 1000\n"
    ),
    "a user with a group and one more, and health that is an error": Image(
        f"{IN_GROUPS}USER app\n{SERVER}",
        'port = 8080\nhealth-path = "/nope"\nhealth-status = [204, "4xx"]\n',
        "user = 1000\n",
    ),
    "groups that are not those configured": Image(
        f"{IN_GROUPS}USER app\n{SERVER}",
        PORT,
        "user = 1000\ngroups = []\n",
        failed=(("user and groups", "in the groups 2000, 3000, and not in 3000 (by [run])"),),
    ),
    "a group that is configured, and health that is a redirection": Image(
        "RUN mkdir /sub\nUSER 1000:7\n" + 'CMD ["httpd", "-f", "-p", "8080", "-h", "/"]\n',
        'port = 8080\nhealth-path = "/sub"\n',
        "user = 1000\ngroup = 7\n",
    ),
    "a code of its own": Image(
        "STOPSIGNAL SIGINT\nUSER 1000\n"
        'CMD ["sh", "-c", "trap \'exit 9\' INT; httpd -p 8080 -h /etc; '
        'while :; do sleep 0.1; done"]\n',
        'port = 8080\nhealth-path = "/passwd"\nstop-codes = [9]\n',
    ),
    "nothing but a program on its PATH": Image(
        'ENTRYPOINT ["httpd", "-f", "-p", "8080", "-h", "/www"]\nUSER 1000\n', PORT, base=BARE
    ),
    "a volume of its own where nothing was": Image(
        f'VOLUME ["/new/data"]\nUSER 1000\n{SERVER}', PORT
    ),
    "files alone": Image("COPY Dockerfile /\n", base="FROM scratch\n"),
    "/sbin in /usr/sbin": Image(
        "RUN cp -a /sbin/. /usr/sbin/ && rm -r /sbin && ln -s usr/sbin /sbin\n"
        f"USER 1000\n{SERVER}",
        PORT,
    ),
    "/sbin and /usr/sbin in /usr/bin, and caches beside each module": Image(
        "RUN cp -a /sbin/. /usr/sbin/. /usr/bin/ && rm -r /sbin /usr/sbin"
        " && ln -s usr/bin /sbin && ln -s bin /usr/sbin\n"
        "RUN mkdir -m 0777 /scratch\nUSER 1000\n"
        'CMD ["sh", "-c", "mkdir -p /scratch/a/__pycache__ && echo > /scratch/a/__pycache__/x; '
        f'{SERVE}"]\n',
        PORT + 'writable-paths = ["*/__pycache__"]\n',
    ),
    "health with another status than it has": Image(
        f"USER 1000\n{SERVER}",
        'port = 8080\nhealth-path = "/nope"\nstart-timeout = 5\n',
        failed=(("healthy", "not healthy within 5 s: GET /nope on port 8080: HTTP 404"),),
    ),
    "a port without HTTP": Image(
        'USER 1000\nCMD ["sh", "-c", "while :; do nc -l -p 5432 -e cat; done"]\n',
        'port = 5432\nhealth = "tcp"\n',
    ),
    "a port that nobody serves": Image(
        'USER 1000\nCMD ["sleep", "60"]\n',
        'port = 5432\nhealth = "tcp"\nstart-timeout = 1\n',
        failed=(("healthy", "a connection to port 5432"),),
    ),
    "a worker with a command for its health": Image(
        'USER 1000\nCMD ["sh", "-c", "sleep 0.3; touch /tmp/ready; exec sleep 60"]\n',
        'health-command = ["test", "-f", "/tmp/ready"]\n',
    ),
    "a worker with a HEALTHCHECK for a shell, which is not that of SHELL": Image(
        'SHELL ["/bin/busybox", "sh", "-c"]\nHEALTHCHECK CMD test "$0" = /bin/sh\nUSER 1000\n'
        'CMD ["sleep", "60"]\n',
        'health = "healthcheck"\n',
    ),
    "a worker that only runs": Image('USER 1000\nCMD ["sleep", "60"]\n', 'health = "running"\n'),
    "a worker that ends": Image(
        'USER 1000\nCMD ["sh", "-c", "echo goodbye; sleep 0.2"]\n',
        'health = "running"\n',
        failed=(("healthy", "it exited at once\ngoodbye"),),
    ),
    "the version elsewhere in JSON": Image(
        "ARG VERSION\n"
        "RUN echo '{\"info\": {\"version\": \"'$VERSION'\"}}' > /spec.json\nUSER 1000\n"
        'CMD ["httpd", "-f", "-p", "8080", "-h", "/"]\n',
        'port = 8080\nhealth-path = "/etc/hosts"\n'
        'health-version = { path = "/spec.json", field = "info.version" }\n',
    ),
    "a check that is left out": Image(
        'USER 1000\nCMD ["sh", "-c", "echo an ERROR; trap : TERM; httpd -p 8080 -h /etc; '
        'while :; do sleep 0.1; done"]\n',
        'port = 8080\nhealth-path = "/passwd"\nskip = ["stops on *", "no error in the log"]\n',
    ),
    "everything that it needs": Image(
        f'USER 1000\nCMD ["sh", "-c", "{NEEDS}"]\n',
        PORT
        + 'ports = [9090]\nenv-file = "file.env"\n'
        + 'commands = [{ entrypoint = "sh", run = ["-c", "wget -q -O - http://db:8080/"] }]\n',
        'env = { NAME = "a b" }\nmounts = ["./conf:/conf:ro"]\n'
        'add-host = ["far.example:10.9.8.7"]\n',
        more='[smoke.services.db]\nimage = "ALPINE"\nready-port = 8080\nenv = { X = 1 }\n'
        'command = ["sh", "-c", "echo db > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]\n'
        '[smoke.services.slow]\nimage = "ALPINE"\nready-command = ["test", "-f", "/tmp/ready"]\n'
        'command = ["sh", "-c", "sleep 0.3; touch /tmp/ready; exec sleep 60"]\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
def test_an_image_that_says_something_itself(
    make_checkout: MakeCheckout, alpine: str, image: Image
) -> None:
    config = (
        f"[smoke]\npolicy = false\nstop-timeout = 20\n{image.smoke}[run]\n{image.run}{image.more}"
    )
    dockerfile = image.base.replace("{alpine}", alpine) + image.lines
    if "ALPINE" in config:
        service = make_checkout(f"FROM {alpine}\nUSER 1000\n", folder="service")
        assert service.invoke("docker-build").returncode == 0
        config = config.replace("ALPINE", f"{service.image}:latest")
    checkout = make_checkout(dockerfile, config)
    (checkout.root / "conf").mkdir()
    (checkout.root / "conf" / "x").write_text("mounted", encoding="utf-8")
    (checkout.root / "file.env").write_text("FILE=c\n", encoding="utf-8")
    done = checkout.invoke("docker-smoke", "--platform", "linux/amd64", "--json", VERSION="1.2.3")
    assert done.stdout, done.stderr
    (result,) = json.loads(done.stdout)["smoke"]
    failed = {f["check"]: f["detail"] for f in result["findings"] if f["state"] == "failed"}
    assert list(failed) == [check for check, _ in image.failed], (failed, done.stderr)
    for check, detail in image.failed:
        assert detail in failed[check]
    assert done.returncode == (7 if image.failed else 0)
    made = {finding["check"] for finding in result["findings"]}
    assert ("version in health" in made) == ("health-version" in image.smoke)


@contextmanager
def _engine_over_tcp() -> Iterator[str]:
    """Pass on what comes to a port of this machine to the engine's socket; return its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_pass_on, args=(listener,), daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)


def _pass_on(listener: socket.socket) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client,), daemon=True).start()


def _serve(client: socket.socket) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine, suppress(OSError):
        engine.connect("/var/run/docker.sock")
        back = threading.Thread(target=_pump, args=(engine, client), daemon=True)
        back.start()
        _pump(client, engine)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


NO_CLIENT = 'ENTRYPOINT ["httpd", "-f", "-p", "8080", "-h", "/www"]\nUSER 1000\n'
REACHED = {
    "inside the container": (f"FROM {{alpine}}\nUSER 1000\n{SERVER}", "", "inside the container"),
    "by its own HEALTHCHECK": (
        f'{BARE}HEALTHCHECK CMD ["httpd", "--help"]\n{NO_CLIENT}',
        "",
        "by the image's HEALTHCHECK",
    ),
    "from a helper": (f"{BARE}{NO_CLIENT}", 'helper-image = "HELPER"\n', "from a container of"),
}


@pytest.mark.parametrize(("dockerfile", "key", "way"), REACHED.values(), ids=REACHED)
def test_an_engine_elsewhere_is_asked_through_the_engine(
    make_checkout: MakeCheckout, alpine: str, dockerfile: str, key: str, way: str
) -> None:
    helper = make_checkout(f"FROM {alpine}\nUSER 1000\n", folder="helper")
    if key:
        assert helper.invoke("docker-build").returncode == 0
    config = f"[smoke]\npolicy = false\n{PORT}{key}health-version = {{ field = '' }}\n"
    checkout = make_checkout(
        dockerfile.replace("{alpine}", alpine), config.replace("HELPER", f"{helper.image}:latest")
    )
    with _engine_over_tcp() as address:
        words = ("docker-smoke", "--json", "--check", "healthy", "--check", "version in health")
        done = checkout.invoke(*words, VERSION="1.2.3", DOCKER_HOST=address)
    assert done.stdout, done.stderr
    (result,) = json.loads(done.stdout)["smoke"]
    found = {finding["check"]: finding for finding in result["findings"]}
    assert found["healthy"]["detail"].startswith(way), found
    # It says another version, or nobody can ask for it.
    expected = {"inside": "failed", "by": "left out", "from": "failed"}[way.partition(" ")[0]]
    assert found["version in health"]["state"] == expected, found
    assert docker("ps", "--quiet", "--filter", f"ancestor={helper.image}:latest") == ""


def test_docker_run_says_that_its_port_is_elsewhere(
    make_checkout: MakeCheckout, alpine: str
) -> None:
    checkout = make_checkout(
        f"FROM {alpine}\nUSER 1000\n{SERVER}", f"[smoke]\n{PORT}[run]\ndata-path = '/data'\n"
    )
    try:
        with _engine_over_tcp() as address:
            done = checkout.invoke("docker-run", "--detach", "--port", "0", DOCKER_HOST=address)
            assert done.returncode == 0, done.stderr
            assert "asked inside the container, with docker exec" in done.stderr
            assert "on the engine's machine" in done.stdout
            refused = checkout.invoke("docker-run", "--volume", "./x:/x", DOCKER_HOST=address)
            assert refused.returncode == 2
            assert "an engine elsewhere can't mount" in refused.stderr
    finally:
        checkout.invoke("docker-stop")


RUNS = """\
[run]
env = {{ NAME = "a b" }}
mounts = ["./conf:/conf:ro"]
add-host = ["far.example:10.9.8.7"]
health-command = ["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
[run.services.db]
image = "{service}:latest"
ready-port = 8080
command = ["sh", "-c", "echo db > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
"""


@pytest.mark.toolchain
def test_docker_run_starts_what_is_needed_and_removes_it(
    make_checkout: MakeCheckout, alpine: str
) -> None:
    service = make_checkout(f"FROM {alpine}\nUSER 1000\n", folder="service")
    assert service.invoke("docker-build").returncode == 0
    checkout = make_checkout(
        f'FROM {alpine}\nEXPOSE 8080 9999/udp\nUSER 1000\nCMD ["sh", "-c", "{NEEDS}"]\n',
        RUNS.format(service=service.image),
    )
    (checkout.root / "conf").mkdir()
    (checkout.root / "conf" / "x").write_text("mounted", encoding="utf-8")
    beside = ("ps", "--all", "--quiet", "--filter", f"ancestor={service.image}:latest")
    words = ("docker-run", "--detach", "--env", "FILE=c", "--port", "0")
    try:
        for _ in range(2):
            # The second one takes the place of the first, with all that it had.
            done = checkout.invoke(*words, "--volume", "./tasks.py:/given:ro")
            assert done.returncode == 0, done.stderr
            assert "address    http://127.0.0.1:" in done.stdout
            assert len(docker(*beside).split()) == 1
        shown = docker("exec", checkout.image, "head", "-1", "/given")
        assert shown.startswith("from pathlib")
        # EXPOSE names the port that is published.
        assert docker("port", checkout.image).startswith("8080/tcp -> 127.0.0.1:")
    finally:
        stopped = checkout.invoke("docker-stop")
    assert stopped.stdout.split() == [checkout.image]
    assert docker(*beside) == ""
    assert checkout.image not in docker("network", "ls", "--format", "{{.Name}}")
    missing = checkout.invoke("docker-run", "--volume", "./absent:/x", "--dry-run")
    assert missing.returncode == 2
    assert "is not there" in missing.stderr


def test_what_a_killed_run_left_beside_it_is_removed(
    make_checkout: MakeCheckout, alpine: str, end_group: Callable[[subprocess.Popen[str]], None]
) -> None:
    service = make_checkout(f"FROM {alpine}\nUSER 1000\n", folder="service")
    assert service.invoke("docker-build").returncode == 0
    config = f'[run.services.db]\nimage = "{service.image}:latest"\ncommand = ["sleep", "600"]\n'
    config += 'env = { API_TOKEN = "not-in-argv" }\nready-command = ["false"]\n'
    checkout = make_checkout(f"FROM {alpine}\nUSER 1000\n", config)
    assert checkout.invoke("docker-build").returncode == 0
    process = checkout.start("docker-run", "--no-build")
    end_group(process)
    named = ("--filter", f"name={checkout.image}-run-")
    deadline = time.monotonic() + 120
    while not (found := docker("ps", "--quiet", *named).split()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "API_TOKEN=not-in-argv" in docker("inspect", "--format", "{{json .Config.Env}}", *found)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    assert docker("network", "ls", "--quiet", *named)
    stopped = checkout.invoke("docker-stop")
    assert "had left, a run that was killed" in stopped.stderr
    assert docker("ps", "--all", "--quiet", *named) == ""
    assert docker("network", "ls", "--quiet", *named) == ""


CODES = {
    ("sh", "-c", "exit 125"): (125, ""),
    ("sh", "-c", "exit 126"): (126, ""),
    ("sh", "-c", "nonsense"): (127, ""),
    ("nonsense",): (4, "the command is not in the container"),
    ("/etc",): (4, "the command in the container can't be executed"),
}


def test_a_code_of_the_program_is_not_dockers(make_checkout: MakeCheckout, alpine: str) -> None:
    checkout = make_checkout(f"FROM {alpine}\nUSER 1000\n")
    assert checkout.invoke("docker-build").returncode == 0
    for words, (code, message) in CODES.items():
        done = checkout.invoke("docker-run", "--no-build", "--", *words)
        assert done.returncode == code, (words, done.stderr)
        assert message in done.stderr, words
    assert docker("ps", "--all", "--quiet", "--filter", f"ancestor={checkout.image}:latest") == ""


def test_one_that_is_not_healthy_says_what_was_asked_and_seen(
    make_checkout: MakeCheckout, alpine: str
) -> None:
    config = 'port = 8080\nhealth-path = "/nope"\nstart-timeout = 5\n'
    checkout = make_checkout(f"FROM {alpine}\nUSER 1000\n{SERVER}", f"[smoke]\n{config}")
    done = checkout.invoke("docker-run", "--detach", "--port", "0")
    assert done.returncode == 7
    assert "GET /nope on port 8080 (http://127.0.0.1:" in done.stderr
    assert "HTTP 404" in done.stderr
    assert "health-path" in done.stderr
