from __future__ import annotations

import json
import shlex
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildlib.adopt.evidence import DockerLine
from buildlib.adopt.facts import for_shell, split_image, with_facts
from buildlib.adopt.hidden import CONFIDENTIAL
from buildlib.adopt.migration import MigrationTable, migration_table
from buildlib.adopt.translate import OTHER_PORTS, translate
from buildlib.adopt.translation import How, Row, Translation
from buildlib.smoke.checks import port_check

DOCKERFILE = "FROM scratch\nARG VERSION\nARG REVISION\nARG X\nCOPY a /\n"


def translated(root: Path, *lines: str) -> Translation:
    (root / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    found = [
        DockerLine(file="Makefile", line=number, argv=tuple(shlex.split(line)), where="target t")
        for number, line in enumerate(lines, 1)
    ]
    return translate(found, root)


def one(root: Path, line: str) -> tuple[str, dict[str, Any], list[str]]:
    found = translated(root, "docker build -t acme/app .", line)
    row = found.rows[1]
    settings = {key: value for key, value in found.settings.items() if key != "image"}
    return row.command.removeprefix("invoke "), settings, [part.text for part in row.left]


@pytest.mark.parametrize(
    ("line", "command", "settings"),
    [
        ("docker stop app", "docker-stop", {}),
        ("docker rm -f app", "docker-stop", {}),
        ("docker logs -f app", "docker-logs --follow", {}),
        ("docker exec -it app sh", "docker-shell", {}),
        ("docker ps", "docker-status", {}),
        ("docker rmi acme/app", "docker-clean --images", {}),
        ("docker save -o x acme/app", "docker-build --output oci", {}),
        ("docker login -u me ghcr.io", "docker-login", {}),
        ("docker pull alpine", "docker-build --pull", {}),
        ("docker history acme/app", "docker-size", {}),
        ("docker scout cves acme/app", "docker-scan", {}),
        ("docker compose up -d web", "docker-run", {}),
        ("docker compose build", "docker-build", {}),
        ("docker compose push", "docker-publish", {}),
        ("docker buildx bake", "docker-build", {}),
        ("docker manifest create a b", "docker-publish", {}),
        ("docker run acme/app", "docker-run", {}),
        ("docker run -d --rm acme/app serve 'a b'", "docker-run --detach -- serve 'a b'", {}),
        ("docker run -p 80 acme/app", "docker-run", {"run": {"port": 80}}),
        ("docker run -p 127.0.0.1:81:80 acme/app", "docker-run --port 81", {"run": {"port": 80}}),
        (
            "docker run -p 80:80 -p 9:9 acme/app",
            "docker-run",
            {"run": {"port": 80, "ports": ["9:9"]}},
        ),
        ("docker run -e A=1 -e B acme/app", "docker-run --env B", {"run": {"env": {"A": "1"}}}),
        ("docker run -e 'A=$A' acme/app", "docker-run --env A", {}),
        ("docker run -e DB_PASSWORD=hunter2x acme/app", "docker-run --env DB_PASSWORD", {}),
        ("docker run -v '$(pwd)/a:/a' acme/app", "docker-run", {"run": {"mounts": ["./a:/a"]}}),
        ("docker run -v '$HOME/a:/a' acme/app", 'docker-run --volume "$HOME/a:/a"', {}),
        (
            "docker run -v /var/run/docker.sock:/s acme/app",
            "docker-run",
            {"run": {"socket-path": "/s"}},
        ),
        ("docker run --privileged acme/app", "docker-run --unconfined", {}),
        ("docker run --read-only --cap-drop ALL --init acme/app", "docker-run", {}),
        (
            "docker run -m 1g --cpus 2 --pids-limit 9 acme/app",
            "docker-run",
            {"run": {"memory": "1g", "cpus": "2", "pids": 9}},
        ),
        ("docker run --network net acme/app", "docker-run", {"run": {"network": "net"}}),
        (
            "docker run --add-host a:10.0.0.1 acme/app",
            "docker-run",
            {"run": {"add-host": ["a:10.0.0.1"]}},
        ),
        ("docker run --name app acme/app", "docker-run", {}),
        ("docker run --name b acme/app", "docker-run --name b", {}),
        (
            "docker run --pull always --platform linux/arm64 acme/app",
            "docker-run --pull-policy always --platform linux/arm64",
            {},
        ),
        (
            "docker run --health-cmd 'curl -f x' acme/app",
            "docker-run",
            {"run": {"health-command": ["curl", "-f", "x"]}},
        ),
        (
            "docker push ghcr.io/me/app:1",
            "docker-publish",
            {"registries": {"ghcr": {"repository": "ghcr.io/me/app"}}},
        ),
        (
            "docker tag acme/app localhost:5000/app",
            "docker-publish",
            {"registries": {"localhost": {"repository": "localhost:5000/app"}}},
        ),
        (
            (
                "docker buildx create --name b --driver docker-container "
                "--driver-opt network=host --bootstrap --use"
            ),
            "docker-builder create b",
            {
                "builders": {
                    "b": {"driver": "docker-container", "nodes": [{"options": {"network": "host"}}]}
                }
            },
        ),
        ("docker buildx use b", "docker-build --builder b", {}),
    ],
)
def test_a_line_becomes_a_task_and_settings(
    tmp_path: Path, line: str, command: str, settings: dict[str, Any]
) -> None:
    assert one(tmp_path, line) == (command, settings, [])


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("docker system prune -f", ["-f"]),
        ("docker network create x", ["x"]),
        ("docker volume ls", ["volume ls"]),
        ("docker run --cap-add SYS_ADMIN acme/app", ["--cap-add SYS_ADMIN"]),
        ("docker run --entrypoint sh -w / -u 1 acme/app", ["--entrypoint sh", "-w /", "-u 1"]),
        ("docker run --wonder acme/app", ["--wonder"]),
        ("docker run -p 53:53/udp acme/app", []),
        ("docker run -p 1-9:1-9 acme/app", ["-p 1-9:1-9"]),
        ("docker run --network '$NET' acme/app", ["--network $NET"]),
        ("docker run redis:7", ["redis:7"]),
        ("docker push other", ["other"]),
        ("docker push '$(REGISTRY)/app'", ["$(REGISTRY)/app"]),
        ("docker --context far run acme/app", ["--context far"]),
        ("docker buildx create --driver kubernetes --name k", ["--driver kubernetes", "--name k"]),
        ("docker buildx create", ["buildx create"]),
        ("docker buildx create --name b! far", ["--name b!", "far"]),
        ("docker build -t a https://a.example/x.git", ["-t a", "https://a.example/x.git"]),
        ("docker build -", ["-"]),
        ("docker build ../x", ["../x"]),
        ("docker build '$DIR'", ["$DIR"]),
        ("docker build -t acme/app --squash --wonder .", ["--wonder", "--squash"]),
    ],
)
def test_what_is_not_carried_over_is_named_with_a_reason(
    tmp_path: Path, line: str, left: list[str]
) -> None:
    found = translated(tmp_path, "docker build -t acme/app .", line)
    assert [part.text for part in found.rows[1].left] == left
    assert all(part.what for row in found.rows for part in row.parts)


def test_settings_are_what_all_lines_have_in_common(tmp_path: Path) -> None:
    found = translated(
        tmp_path,
        "docker build --build-arg X=1 --cache-from a --target a -t app .",
        "docker build --build-arg X=1 --build-arg REVISION=2 --target b -t app:b .",
    )
    assert found.settings == {"image": "app", "target": "a", "build-args": {"X": "1"}}
    assert [row.command.removeprefix("invoke docker-build ") for row in found.rows] == [
        "--cache-from a",
        "--target b --build-arg REVISION=2 --tag b",
    ]


def test_paths_are_those_of_the_directory_that_a_line_is_run_in(tmp_path: Path) -> None:
    lines = [
        DockerLine(file="x.sh", line=1, argv=tuple(shlex.split(line)), folder="sub")
        for line in (
            "docker build --secret id=a,src=key --secret id=b,env=B -t app -f d/File ..",
            "docker run -v ./data:/data -v vol:/vol --env-file .env -v /abs:/abs app",
        )
    ]
    assert translate(lines, tmp_path).settings == {
        "image": "app",
        "dockerfile": "sub/d/File",
        "secrets": {"a": {"file": "sub/key"}, "b": {"env": "B"}},
        "run": {
            "mounts": ["./sub/./data:/data", "vol:/vol", "/abs:/abs"],
            "env-file": ["sub/.env"],
        },
    }


def test_the_image_is_the_one_that_the_root_builds(tmp_path: Path) -> None:
    found = translated(
        tmp_path, "docker build -t x/tool ./tool", "docker build -t x/app .", "docker build sub"
    )
    assert found.settings == {"image": "x/app"}
    assert list(found.others) == ["tool", "sub"]
    assert [row.image for row in found.rows] == ["tool", "", "sub"]


def test_every_part_of_a_row_is_printed(tmp_path: Path) -> None:
    text = "t:\n\tdocker build -t app --squash .\n\tdocker run app\nu:\n\tdocker system prune\n"
    (tmp_path / "Makefile").write_text(text, encoding="utf-8")
    table = migration_table(tmp_path)
    assert table.as_text().splitlines() == [
        "Makefile:2  target t",
        "  docker build -t app --squash .",
        "  → invoke docker-build",
        "    .: the default context",
        '    -t app: image = "app"; latest is a tag by itself',
        "    --squash: not carried over: docker buildx build has no such option",
        "",
        "Makefile:3  target t",
        "  docker run app",
        "  → invoke docker-run",
        "    app: the image that was built last",
        "",
        "Makefile:5  target u",
        "  docker system prune",
        "  → nothing does the same",
        "    system prune: not carried over: it removes what other projects have in the engine",
        "",
        "3 commands of docker, 2 of their parts not carried over",
    ]
    assert table.as_dict()["settings"] == {"image": "app"}
    assert [row["command"] for row in table.as_dict()["rows"]] == [
        *("invoke docker-build", "invoke docker-run", ""),
    ]


@pytest.mark.parametrize(
    ("line", "names", "command"),
    [
        ("docker build -t x/sub sub", {}, ""),
        ("docker build -t x/sub sub", {"": "app", "sub": "web"}, "docker-build --only web"),
        ("docker build -t x/app -f Other .", {}, "docker-build --file Other"),
        ("docker build -t x/app -f Other --build-arg A=1 .", {}, ""),
        ("docker build -t x/app -f Other --platform linux/amd64,linux/arm64 .", {}, ""),
    ],
)
def test_a_task_is_about_the_image_of_its_line(
    tmp_path: Path, line: str, names: dict[str, str], command: str
) -> None:
    found = translated(tmp_path, "docker build -t x/app .", line)
    main, row = MigrationTable(translation=found, names=names).rows
    only = " --only app" if names else ""
    assert main.command == f"invoke docker-build{only}"
    assert row.command.removeprefix("invoke ") == command
    told = [part.what for part in row.left if "[images." in part.what]
    assert told == ([] if command else [f"an image of its own: add [images.{row.image}]"])


def test_a_repository_without_docker_has_no_table(tmp_path: Path) -> None:
    assert migration_table(tmp_path).as_text() == "no command of docker was found"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(shell git describe --tags)", "{version}"),
        ("v$(git describe --tags 2>/dev/null || echo dev)", "v{version}"),
        ("$(shell cat VERSION)", "{version}"),
        ("$(subst v,,$(shell git describe))", "{version}"),
        ("$(shell git rev-parse HEAD)-x", "{revision}-x"),
        ("$(git rev-parse --abbrev-ref HEAD)", "{branch}"),
        ("$(shell date -u +%s)", "{created}"),
        ("{{ .Version }}/{{.FullCommit}}", "{version}/{revision}"),
        ("$(shell uname) $X {{ .Env.A }}", "$(shell uname) $X {{ .Env.A }}"),
    ],
)
def test_facts_of_git_are_recognised(text: str, expected: str) -> None:
    assert with_facts(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("a b", "'a b'"),
        ("$(TAG)-x", '"$TAG-x"'),
        ("$(shell git rev-parse HEAD)", '"$(git rev-parse HEAD)"'),
        ('${TAG}"', '"${TAG}\\""'),
        ("$(subst a,b,$(X))", ""),
        ("{{ .Env.X }}", ""),
        ("$*", ""),
    ],
)
def test_what_has_no_value_is_left_to_the_shell(text: str, expected: str) -> None:
    assert for_shell(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a", "")),
        ("h:5000/a", ("h:5000/a", "")),
        ("h:5000/a:t", ("h:5000/a", "t")),
        ("$(X:a=b)/a:$(shell x:y)", ("$(X:a=b)/a", "$(shell x:y)")),
        ("a@sha256:1", ("a", "")),
    ],
)
def test_a_reference_is_split_outside_of_its_variables(
    text: str, expected: tuple[str, str]
) -> None:
    assert split_image(text) == expected


WORDS = st.sampled_from(
    [
        *("build", "run", "push", "tag", "buildx", "compose", "create", "use", "manifest", "."),
        *("-t", "--tag", "app", "a:b", "$(X)", "$X", "-f", "--build-arg", "X=1", "VERSION=1.0.0"),
        *("--platform", "linux/amd64,x", "--push", "-o", "type=", "-p", "80:80", "-e", "-v", "/a"),
        *("--secret", "id=a,src=b", "--name", "--", "-", "", "{{ .Tag }}", "é", "--network", "\n"),
    ]
)


@example([["build", ""]])
@given(st.lists(st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=8), max_size=4))
def test_any_line_becomes_a_row_with_all_its_parts(lines: list[list[str]]) -> None:
    found = [
        DockerLine(file="Makefile", line=1, argv=("docker", *words), where="t") for words in lines
    ]
    translation = translate(found, Path("/nowhere"))
    assert [row.line for row in translation.rows] == found
    for row in translation.rows:
        assert row.parts
        assert all(part.what for part in row.parts if part.how is How.LEFT)


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "line",
    [
        f"docker build --build-arg API_TOKEN={SECRET} -t acme/app .",
        f"docker build --build-arg=API_TOKEN={SECRET} --label password={SECRET} .",
        f"docker build --build-arg X=https://u:{SECRET}@host/x .",
        f"docker build --cache-from type=s3,secret_access_key={SECRET} .",
        f"docker build 'https://u:{SECRET}@github.com/a/b.git#main:c'",
        f"docker login -u me -p {SECRET} ghcr.io",
        f"docker login -u me --password {SECRET} ghcr.io",
        f"docker run -e 'DB_PASSWORD=a {SECRET}' -e D=postgres://u:{SECRET}@db/x acme/app",
        f"docker run acme/app --password={SECRET} --token {SECRET}",
        f"docker run --health-cmd 'curl -u a:{SECRET} http://127.0.0.1/' acme/app",
        f"docker run acme/app sh -c 'DB_PASSWORD={SECRET} run'",
    ],
)
def test_no_secret_of_a_line_is_printed_or_configured(tmp_path: Path, line: str) -> None:
    table = MigrationTable(translation=translated(tmp_path, "docker build -t acme/app .", line))
    assert SECRET not in table.as_text()
    assert SECRET not in json.dumps(table.as_dict())
    assert SECRET not in str(table.translation.settings)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (f"--build-arg API_TOKEN={SECRET}", "API_TOKEN"),
        (f"--build-arg X=https://u:{SECRET}@host/x", "X"),
        (f"--label password={SECRET}", "password"),
        (f"--annotation password={SECRET}", "password"),
        (f"--build-context code=https://u:{SECRET}@host/x.git", "code"),
        (f"--cache-to type=s3,bucket=b,secret_access_key={SECRET}", "secret_access_key"),
        (f"--cache-from type=s3,bucket=b,secret_access_key={SECRET}", "secret_access_key"),
    ],
)
def test_no_secret_of_the_only_line_is_configured(tmp_path: Path, options: str, name: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"{DOCKERFILE}ARG API_TOKEN\n", encoding="utf-8")
    words = shlex.split(f"docker build {options} -t acme/app .")
    found = translate([DockerLine(file="Makefile", line=1, argv=tuple(words))], tmp_path)
    assert found.settings == {"image": "acme/app"}
    (left,) = found.rows[0].left
    assert (name in left.text, left.what) == (True, CONFIDENTIAL)
    assert SECRET not in MigrationTable(translation=found).as_text()


def test_no_secret_of_a_builder_is_configured(tmp_path: Path) -> None:
    option = f"--driver-opt env.HTTPS_PROXY=http://u:{SECRET}@proxy"
    found = translated(tmp_path, f"docker buildx create --name ci {option}")
    assert found.settings == {"builders": {"ci": {"driver": "docker-container"}}}
    assert [part.what for part in found.rows[0].left] == [CONFIDENTIAL]


def test_what_only_looks_like_a_secret_is_printed(tmp_path: Path) -> None:
    lines = (
        "docker build --secret id=API_TOKEN,env=API_TOKEN --build-arg TOKEN_FILE=/x .",
        "docker login -u me --password-stdin ghcr.io",
        "docker run -u 1000:1000 -e POSTGRES_PASSWORD=postgres postgres",
    )
    text = MigrationTable(translation=translated(tmp_path, *lines)).as_text()
    assert f"\n  {lines[0]}\n" in text
    assert f"\n  {lines[1]}\n" in text
    assert "\n  docker run -u 1000:1000 -e 'POSTGRES_PASSWORD=***' postgres\n" in text


def test_a_service_beside_gets_no_secret(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  db:\n    image: postgres\n"
        f'    command: ["--password={SECRET}"]\n'
        f"    healthcheck: {{test: 'curl -u a:{SECRET} http://db'}}\n"
        "  web:\n    build: .\n    depends_on: [db]\n",
        encoding="utf-8",
    )
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    table = migration_table(tmp_path)
    assert table.translation.settings["run"]["services"] == {"db": {"image": "postgres"}}
    assert SECRET not in table.as_text()


def compose(root: Path, service: str, more: str = "") -> Translation:
    (root / "compose.yaml").write_text(
        f"services:\n  web: {{build: ., image: acme/app, {service}}}\n{more}", encoding="utf-8"
    )
    (root / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    return migration_table(root).translation


@pytest.mark.parametrize(
    ("check", "run"),
    [
        ('test: ["NONE"]', {"health": "running"}),
        ("disable: true, test: x", {"health": "running"}),
        ('test: [""]', None),
        ('test: ["CMD"]', None),
        ('test: ["CMD", "x", ""]', {"health-command": ["x", ""]}),
        ("test: x y", {"health-command": ["x", "y"]}),
    ],
)
def test_a_health_check_of_compose_may_be_off(
    tmp_path: Path, check: str, run: dict[str, Any] | None
) -> None:
    assert compose(tmp_path, f"healthcheck: {{{check}}}").settings.get("run") == run


def test_files_of_variables_are_carried_over_or_named(tmp_path: Path) -> None:
    files = "[a.env, {path: b.env}, {path: c.env, required: false}]"
    found = compose(tmp_path, f"env_file: {files}")
    assert found.settings["run"] == {"env-file": ["a.env", "b.env"]}
    assert "env_file c.env" in [part.text for row in found.rows for part in row.left]


def test_an_empty_variable_is_not_one_of_the_environment(tmp_path: Path) -> None:
    found = compose(tmp_path, 'environment: {X: "", Y: }')
    assert found.settings["run"] == {"env": {"X": ""}}
    assert found.rows[1].command == "invoke docker-run --name web --env Y"


def test_a_service_beside_gets_no_value_that_is_not_known(tmp_path: Path) -> None:
    db = '  db: {image: postgres, environment: {A: "${PG}", B: , C: ""}}\n'
    cache = '  cache: {image: "redis:${PG}"}\n'
    found = compose(tmp_path, "depends_on: [db, cache]", db + cache)
    assert found.settings["run"] == {"services": {"db": {"image": "postgres", "env": {"C": ""}}}}
    left = [part.text for row in found.rows for part in row.left]
    assert left == ["--env A=${PG}", "--env B", "redis:${PG}"]


def test_a_version_that_inject_passes_is_not_given_as_well(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG APP_VERSION\n", encoding="utf-8")
    build = ("docker", "build", "-t", "acme/app")
    found = [
        DockerLine(
            file="Makefile", line=1, argv=(*build, "--build-arg", arg, "."), where="target t"
        )
        for arg in ("APP_VERSION=$(shell git describe)", "APP_VERSION=v$(shell git describe)")
    ]
    plain = DockerLine(file="Makefile", line=2, argv=(*build, "."), where="target u")
    first, second, _ = translate([*found, plain], tmp_path).rows
    assert first.command == "invoke docker-build"
    assert any("as [inject] says" in part.what for part in first.parts)
    assert "--build-arg" in second.command


def test_ports_of_another_command_are_not_for_smoke(tmp_path: Path) -> None:
    line = "docker run -p 80:80 -p 9229:9229 acme/app"
    _, settings, _ = one(tmp_path, line)
    assert settings == {"run": {"port": 80, "ports": ["9229:9229"]}}
    _, settings, _ = one(tmp_path, f"{line} node --inspect=0.0.0.0:9229")
    assert settings["smoke"] == {"skip": [OTHER_PORTS]}
    assert fnmatchcase(port_check(9229), OTHER_PORTS)


SERVICE = """FROM scratch AS base
VOLUME /data
FROM base AS dev
FROM base
"""
BUILT = ("docker build -t acme/app .", "docker build --target dev -t app:dev .")


def run_rows(root: Path, *lines: str) -> tuple[dict[str, Any], list[Row]]:
    (root / "Dockerfile").write_text(SERVICE, encoding="utf-8")
    found = [
        DockerLine(file="M", line=n, argv=tuple(shlex.split(one))) for n, one in enumerate(lines)
    ]
    translation = translate([*found], root)
    rows = [row for row in translation.rows if "docker-run" in row.command]
    return translation.settings.get("run", {}), rows


@pytest.mark.parametrize("test_first", [False, True])
def test_only_what_runs_the_service_is_configured(tmp_path: Path, *, test_first: bool) -> None:
    service = "docker run -m 1g -e A=1 -v ./conf:/etc/x:ro acme/app"
    options = "-m 2g -p 80:80 -e A=1 -e B=2 -v ./conf:/etc/x:ro -v ./tests:/tests"
    test = f"docker run {options} acme/app pytest /tests"
    lines = (test, service) if test_first else (service, test)
    run, rows = run_rows(tmp_path, *BUILT, *lines)
    assert run == {"memory": "1g", "env": {"A": "1"}, "mounts": ["./conf:/etc/x:ro"]}
    row = rows[0 if test_first else 1]
    assert row.commands == "invoke docker-run --env B=2 --volume ./tests:/tests -- pytest /tests"
    assert [part.text for part in row.left] == ["-m 2g", "-p 80:80"]


def test_a_command_alone_says_how_the_image_is_run_unless_it_is_of_another_build(
    tmp_path: Path,
) -> None:
    options = "-v ./tests:/tests:ro"
    run, _ = run_rows(tmp_path, *BUILT, f"docker run {options} acme/app serve")
    assert run == {"mounts": ["./tests:/tests:ro"]}
    run, (row,) = run_rows(tmp_path, *BUILT, f"docker run {options} app:dev pytest")
    assert run == {}
    assert row.commands == (
        "invoke docker-build --target dev --tag app:dev"
        " && invoke docker-run --no-build --volume ./tests:/tests:ro -- pytest"
    )
    run, (row,) = run_rows(tmp_path, *BUILT, f"docker run {options} app:dev")
    assert run == {"mounts": ["./tests:/tests:ro"]}
    assert "--target dev" in row.commands


def test_another_build_is_run_without_being_pushed_and_by_the_name_of_its_image(
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text(SERVICE, encoding="utf-8")
    pushed = "docker build --target dev --push -t app:dev ."
    lines = [
        DockerLine(file="M", line=1, argv=tuple(shlex.split(one)))
        for one in (BUILT[0], pushed, "docker run app:dev sh")
    ]
    found = translate(lines, tmp_path)
    row = MigrationTable(translation=found, names={"": "web"}).rows[2]
    assert row.as_dict()["command"] == (
        "invoke docker-build --only web --target dev --tag dev"
        " && invoke docker-run --only web --no-build -- sh"
    )


@pytest.mark.parametrize(
    ("mounts", "run", "command"),
    [
        ("./notes:/data", {"data-dir": "notes"}, "--persistent"),
        (
            "./notes:/data/:rw ./conf:/etc/x:ro",
            {"data-dir": "notes", "mounts": ["./conf:/etc/x:ro"]},
            "--persistent",
        ),
        ("notes:/data", {"mounts": ["notes:/data"]}, ""),
        ("/srv/notes:/data", {"mounts": ["/srv/notes:/data"]}, ""),
    ],
)
def test_a_directory_for_the_data_is_mounted_as_the_table_says(
    tmp_path: Path, mounts: str, run: dict[str, Any], command: str
) -> None:
    options = " ".join(f"-v {mount}" for mount in mounts.split())
    found, (row,) = run_rows(tmp_path, *BUILT, f"docker run {options} acme/app")
    assert found == run
    assert row.command == f"invoke docker-run {command}".rstrip()


def test_another_directory_for_the_data_is_given_to_its_task(tmp_path: Path) -> None:
    lines = [f"docker run -v ./{name}:/data acme/app" for name in ("a", "b", "a")]
    lines[2] += " restore"
    run, rows = run_rows(tmp_path, *BUILT, *lines)
    assert run == {"data-dir": "a"}
    assert [row.command.removeprefix("invoke docker-run ") for row in rows] == [
        "--persistent",
        "--data-dir b",
        "--persistent -- restore",
    ]


def test_an_abbreviated_revision_is_named_where_it_becomes_a_whole_one(tmp_path: Path) -> None:
    arg = "--build-arg 'REVISION=$(shell git rev-parse {}HEAD)'"
    found = translated(
        tmp_path,
        f"docker build {arg.format('--short ')} -t app .",
        f"docker build {arg.format('')} -t app .",
    )
    said = [part.what for row in found.rows for part in row.parts if "REVISION" in part.text]
    assert said == [
        "REVISION is passed by itself; the revision in full, not abbreviated",
        "REVISION is passed by itself",
    ]


def test_a_reason_for_several_words_is_printed_once(tmp_path: Path) -> None:
    (row,) = translated(tmp_path, "docker exec -it app sh").rows
    assert row.as_text().splitlines()[3:] == [
        "    -it app sh: it opens a shell in the container of this project"
    ]
    assert len(row.as_dict()["parts"]) > 1


def test_a_command_without_a_value_is_not_for_a_service(tmp_path: Path) -> None:
    text = """services:
  app: {build: ., depends_on: [db, cache]}
  db: {image: postgres, command: 'postgres -c "port=${PORT}"'}
  cache: {image: redis, command: 'redis-server --port ${CACHE:-6380}'}
"""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (tmp_path / "compose.yaml").write_text(text, encoding="utf-8")
    table = migration_table(tmp_path)
    assert table.translation.settings["run"]["services"] == {
        "db": {"image": "postgres"},
        "cache": {"image": "redis", "command": ["redis-server", "--port", "6380"]},
    }
    (row,) = [row for row in table.rows if row.line.where == "service db"]
    assert [part.what for part in row.left] == ["it has no value in the file"]


def test_a_check_that_is_in_a_volume_is_not_carried_over(tmp_path: Path) -> None:
    text = """services:
  app: {build: ., depends_on: [db]}
  db: {image: postgres, volumes: ["./checks:/checks"], healthcheck: {test: /checks/db.sh}}
"""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    (tmp_path / "compose.yaml").write_text(text, encoding="utf-8")
    found = migration_table(tmp_path).translation.settings["run"]["services"]
    assert found == {"db": {"image": "postgres"}}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("registry.example.com:5000/", "example"),
        ("ghcr.io/", "ghcr"),
        ("registry.gitlab.com/", "gitlab"),
        ("registry:5000/", "registry"),
        ("localhost:5000/", "localhost"),
        ("127.0.0.1:5000/", "main"),
        ("", "dockerhub"),
    ],
)
def test_who_signs_in_gets_the_variables_of_the_registry(
    tmp_path: Path, host: str, name: str
) -> None:
    login = f"docker login -u ci --password-stdin {host.rstrip('/')}".rstrip()
    build, push = f"docker build -t {host}acme/app .", f"docker push {host}acme/app"
    found = translated(tmp_path, build, push, login, "docker login other.example")
    (table,) = found.settings["registries"].items()
    assert table[0] == name
    assert table[1]["username-env"] == f"{name.upper()}_USERNAME"
    assert table[1]["password-env"] == f"{name.upper()}_PASSWORD"
    signed, other = (row for row in found.rows if row.command == "invoke docker-login")
    whats = [part.what for part in signed.parts]
    assert f"set {name.upper()}_USERNAME and {name.upper()}_PASSWORD: [registries.{name}]" in whats
    assert not any("set " in part.what for part in other.parts)
