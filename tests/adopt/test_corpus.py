"""Each repository of the corpus gets settings with which docker-build does what its lines do."""

from __future__ import annotations

import shlex
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from posixpath import normpath

import pytest
from adoptcorpus import Repository, corpus, rows_of, settings_of
from conftest import Checkout, git

from buildlib.adopt import facts
from buildlib.adopt.configuration import Package
from buildlib.adopt.docker_options import CommandLine, parse_command
from buildlib.adopt.files import write_all
from buildlib.adopt.migration import MigrationTable, migration_table, with_names
from buildlib.adopt.places import find_repository
from buildlib.adopt.plan import AdoptionRequest, plan_adoption
from buildlib.adopt.translation import How, Row
from buildlib.config.build_options import short_attestation
from buildlib.image.labels import NAMESPACE, OCI
from buildlib.image.reference import canonical

REPOSITORIES = corpus()
KINDS = {"go", "python", "node", "rust", "c", "static", "command line"}
TOOLS = {"make", "compose", "bake", "goreleaser", "script"}
# What docker-build adds to every line.
BUILD_ARGS = {"SOURCE_DATE_EPOCH", "VERSION", "REVISION", "CREATED"}
LABELS = (f"{OCI}.", f"{NAMESPACE}.")
# Flags that are written together.
SHORT = {"-it"}
# A platform, a tag, a value.
GIVEN = "arm64"


def test_the_corpus_has_every_kind() -> None:
    assert len(REPOSITORIES) >= 40
    kinds = Counter(one.about["kind"] for one in REPOSITORIES)
    tools = Counter(tool for one in REPOSITORIES for tool in one.about["tool"].split(", "))
    assert set(kinds) == KINDS
    assert set(tools) == TOOLS
    assert min(*kinds.values(), *tools.values()) >= 2
    assert sum("others" in one.expected for one in REPOSITORIES) >= 3


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    git(root, "init", "-q", "-b", "main")
    git(root, "commit", "-qm", "first", "--allow-empty")
    return root


@pytest.fixture(params=REPOSITORIES, ids=lambda one: one.name)
def repository(request: pytest.FixtureRequest) -> Repository:
    found: Repository = request.param
    return found


@pytest.mark.unmeasured
def test_it_becomes_the_settings_that_do_the_same(
    repository: Repository, template: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root = tmp_path / repository.name
    shutil.copytree(template, root)
    table = migration_table(repository.write(root))
    table = with_names(table, find_repository(root))
    translation = table.translation
    if request.config.getoption("--update-golden"):
        repository.update(table)
    else:
        assert settings_of(translation) == repository.expected
        assert rows_of(table) == repository.files["expected.txt"]
    write_all(plan_adoption(root, AdoptionRequest(root, Package())).changes)
    built = [row for row in table.rows if row.command.startswith("invoke docker-build")]
    for row in built:
        check_line(root, table, row)
    for row in table.rows:
        check_complete(row)


def check_complete(row: Row) -> None:
    """See that every word of a line is in a part of its row."""
    words = Counter(word for part in row.parts for word in part.text.split())
    for word in row.line.argv[1:]:
        bare = word.split("=")[0] if word.startswith("--") else word
        name = parse_command(row.line.argv).name
        if bare in name.split() or bare in {"buildx", "image", "builder", "b", "f", "container"}:
            continue
        pieces = [f"-{letter}" for letter in word[1:]] if word in SHORT else word.split()
        assert all(piece in str(words) for piece in pieces), (word, row.parts)


def check_line(root: Path, table: MigrationTable, row: Row) -> None:
    """See that a dry run has the options of the line, and no others but those of the library."""
    command = parse_command(row.line.argv)
    if command.name != "build":
        return
    text = (root / "buildlib.toml").read_text(encoding="utf-8")
    settings = tomllib.loads(text)
    name = table.names.get(row.image, "")
    own = settings.get("images", {}).get(name, {})
    settings |= {"image": f"{settings.get('image', '')}/{name}"} | own if own else {}
    words = shlex.split(filled(row.command))[1:]
    secrets = settings.get("secrets", {})
    env = {source["env"]: "x" for source in secrets.values() if "env" in source}
    env["SSH_AUTH_SOCK"] = str(root)
    done = Checkout(root, "corpus").invoke(*words, "--dry-run", **env)
    assert done.returncode == 0, (done.stderr, text)
    line = next(line for line in done.stdout.splitlines() if "docker buildx build" in line)
    (found,) = [
        parse_command(shlex.split(part))
        for part in line.split(" && ")
        if part.startswith("docker buildx build")
    ]
    labels = dict(label.partition("=")[::2] for label in found.values("label"))
    values = {
        "version": labels.get("org.opencontainers.image.version", GIVEN),
        "revision": git(root, "rev-parse", "HEAD"),
        "created": "2024-01-02T03:04:05Z",
    }
    # What a row says is not carried over, or so by itself.
    excused = {part.text for part in row.parts if part.how in {How.LEFT, How.DEFAULT}}
    kept = tuple(option for option in command.options if option.text not in excused)
    before = set(normal(command._replace(options=kept), root, row.line.folder, values))
    after = set(normal(found, root, ".", values))
    missing = {one for one in before - after if not is_excused(one, row)}
    assert not missing, (row.command, text, done.stdout)
    image = canonical(settings["image"])
    own = {("tag", f"{image}:{values['version']}"), ("tag", f"{image}:latest")}
    args = {*BUILD_ARGS, *settings.get("inject", {}).values()}
    more = {one for one in after - before - own if not is_added(one, args, table)}
    assert not more, (row.command, text, done.stdout)


def filled(text: str, values: dict[str, str] | None = None) -> str:
    """Return a text in which everything that only a shell knows has one value."""
    text = facts.with_facts(text) if values else text
    for start, end in reversed(facts.expansions(text)):
        text = f"{text[:start]}{GIVEN}{text[end:]}"
    for name, value in (values or {}).items():
        text = text.replace(f"{{{name}}}", value)
    return text


def normal(
    command: CommandLine, root: Path, folder: str, values: dict[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the options of a build in one form, whichever way they were written."""
    context = filled(command.words[-1] if command.words else ".", values)
    yield "context", normpath(root / folder / context)
    file = (command.values("file") or (f"{context}/Dockerfile",))[-1]
    yield "file", normpath(root / folder / file)
    for one in command.options:
        value = filled(one.value or "", values)
        match one.name:
            case "file" | "metadata-file" | "load":
                continue
            case "tag":
                name, tag = facts.split_image(value)
                if tag != values["version"]:
                    tag = facts.split_image(filled(one.value or ""))[1]
                yield "tag", f"{canonical(name)}:{tag or 'latest'}"
            case "platform":
                yield from (("platform", name) for name in value.split(","))
            case _:
                yield same(one.name, value.replace(f"={root}/", "="))


def same(name: str, value: str) -> tuple[str, str]:
    """Return the one form of an option that may be written in several ways."""
    if name == "output" and ("registry" in value or "push=true" in value):
        return "push", ""
    if name == "output":
        named = value if "=" in value else f"type=local,dest={value}"
        return "output", named.replace("rewrite-timestamp=true,", "")
    if name == "add-host":
        return "add-host", value.replace(":", "=", 1)
    if name in {"provenance", "sbom"} and value != "false":
        return "attest", short_attestation(name, value)
    return ("progress", "quiet") if name == "quiet" else (name, value)


def is_excused(one: tuple[str, str], row: Row) -> bool:
    """Return whether a row says why the name of an image is another one."""
    return one[0] == "tag" and any(part.what.startswith("it has no value") for part in row.left)


def is_added(one: tuple[str, str], args: set[str], table: MigrationTable) -> bool:
    """Return whether docker-build adds an option by itself."""
    name, value = one
    key = value.partition("=")[0]
    if name == "build-arg":
        return key in args
    if name == "label":
        return key.startswith(LABELS)
    if name == "builder":
        return any(f"--builder {value}" in row.command for row in table.rows)
    return one == ("provenance", "false")
