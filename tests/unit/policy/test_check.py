"""The policy: an image that keeps every rule, and one that breaks each of them alone."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ociwriter import OciWriter
from tarwriter import V7, TarEntry, tar

from buildlib.build.planner import BuildRequest, make_build_plan
from buildlib.commands import policy as policy_commands
from buildlib.commands.session import Edge
from buildlib.config.load import load_config
from buildlib.config.policy import Policy, PolicyIgnore
from buildlib.errors import (
    BuildlibError,
    EngineError,
    GateError,
    InputError,
    ProblemsError,
    ToolError,
    collected,
)
from buildlib.executor import Completed
from buildlib.findings.finding import Finding, Level
from buildlib.findings.policy_rules import RULES
from buildlib.findings.sarif import as_sarif
from buildlib.image.archive import open_archive
from buildlib.image.labels import OWNER
from buildlib.image.user_and_shell import starts_shell
from buildlib.policy.check import check_labels, check_policy
from buildlib.policy.dockerfile_checks import check_bases, run_hadolint
from buildlib.policy.image_checks import check_image, levelled, read_contents
from buildlib.policy.report import PolicyReport, make_report
from buildlib.policy.secret_checks import Known
from buildlib.project import Project
from buildlib.smoke.report import DROPS_ROOT, CheckResult, CheckState, PlatformResult, SmokeReport

from fakes import DOCKERFILE, FakeExecutor, a_project, git_facts, write_project

TODAY = date(2026, 6, 15)
NO_POLICY = Policy()
LABELS = {
    "org.opencontainers.image.title": "thing",
    "org.opencontainers.image.description": "does things",
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.source": "https://example.org/thing",
    "org.opencontainers.image.version": "1.2.3",
    "org.opencontainers.image.revision": "0123456789abcdef0123456789abcdef01234567",
    "org.opencontainers.image.created": "2024-01-02T03:04:05Z",
}
RUNTIME: dict[str, object] = {
    "User": "1001:1001",
    "Env": ["PATH=/bin", "API_TOKEN_FILE_HINT="],
    "Entrypoint": ["/entrypoint.sh"],
    "Cmd": ["server"],
    "Healthcheck": {"Test": ["CMD", "/app", "healthcheck"]},
    "Labels": LABELS,
}
AMD64 = b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\x00" + bytes(44)
ARM64 = AMD64.replace(b"\x3e", b"\xb7")
# Written in halves: whoever looks for secrets in this repository should find none.
TOKEN = "ghp_" + "a1b2c3" * 7


def _entry(path: str, mode: int = 0o755, **facts: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode = mode
    for name, value in facts.items():
        setattr(entry, name, value)
    return entry


BASE = (
    _entry("tmp/", 0o1777, type=tarfile.DIRTYPE),
    _entry("shared/", 0o2755, type=tarfile.DIRTYPE),
    _entry("bin/sh", 0o777, type=tarfile.SYMTYPE, linkname="/bin/busybox"),
    _entry("app"),
    _entry("var/cache/apk/", type=tarfile.DIRTYPE),
)
Layers = tuple[tuple[tarfile.TarInfo, ...], ...]


def _findings(
    path: Path,
    *layers: tuple[tarfile.TarInfo, ...],
    contents: dict[str, bytes] | None = None,
    history: tuple[str, ...] = ("COPY app /",),
    policy: Policy = NO_POLICY,
    size_budget: int = 0,
    **runtime: object,
) -> list[Finding]:
    writer = OciWriter()
    held = {"app": AMD64, **(contents or {})}
    image = writer.image(
        [writer.entries(*layer, contents=held) for layer in (BASE, *layers)],
        [{"created_by": text, "empty_layer": True} for text in history],
        config={**RUNTIME, **runtime},
    )
    with open_archive(writer.write(path / "i.tar", image)) as archive:
        (one,) = archive.images()
        return list(
            check_image(read_contents(archive, one), policy, size_budget=size_budget, serves=True)
        )


def test_an_image_that_keeps_every_rule(tmp_path: Path) -> None:
    assert _findings(tmp_path) == []


def test_an_image_of_files_alone_runs_as_no_user(tmp_path: Path) -> None:
    for user, expected in (("", set[str]()), ("root", {"non-root"})):
        found = _findings(tmp_path, User=user, Entrypoint=None, Cmd=None)
        assert {finding.rule for finding in found} & {"non-root"} == expected


Case = tuple[dict[str, object], Layers, str, str]
BROKEN: dict[str, Case] = {
    "no user": ({"User": ""}, (), "non-root", "it runs as root, as no USER is set"),
    "root by number": ({"User": "0:1001"}, (), "non-root", "it runs as 0"),
    "root by name": ({"User": "root"}, (), "non-root", "it runs as root"),
    "root in two digits": ({"User": "00"}, (), "non-root", "it runs as 00"),
    "root with a sign": ({"User": "+0:5"}, (), "non-root", "it runs as +0"),
    "root below zero": ({"User": "-0"}, (), "non-root", "it runs as -0"),
    "a group alone": ({"User": ":5"}, (), "non-root", "it runs as root, as no USER is set"),
    "a number with a blank": ({"User": " 0"}, (), "non-root", "USER  0 is a name"),
    "a number in hexadecimal": ({"User": "0x0"}, (), "non-root", "USER 0x0 is a name"),
    "a number that is too large": (
        {"User": "4294967296"},
        (),
        "non-root",
        "USER 4294967296 is a number that no user can have",
    ),
    "a number of any length": ({"User": "1" * 50}, (), "non-root", "is a name"),
    "a number below zero": ({"User": "-1"}, (), "non-root", "that no user can have"),
    "a name that a terminal would obey": ({"User": "\x1b[2J"}, (), "non-root", "USER \\x1b[2J is"),
    "a name": ({"User": "app"}, (), "non-root", "USER app is a name; give its number"),
    "no health check": (
        {"Healthcheck": None},
        (),
        "exec-healthcheck",
        "it serves, and has no HEALTHCHECK",
    ),
    "a health check that is taken away": (
        {"Healthcheck": {"Test": ["NONE"]}},
        (),
        "exec-healthcheck",
        "it serves, and has no HEALTHCHECK",
    ),
    "a health check for a shell": (
        {"Healthcheck": {"Test": ["CMD-SHELL", "wget x"]}},
        (),
        "exec-healthcheck",
        'HEALTHCHECK runs in a shell; give CMD a list of words, ["…", "…"]',
    ),
    "a health check that starts a shell": (
        {"Healthcheck": {"Test": ["CMD", "/bin/bash", "-c", "x"]}},
        (),
        "exec-healthcheck",
        'HEALTHCHECK runs in a shell; give CMD a list of words, ["…", "…"]',
    ),
    "a health check for a shell, whatever SHELL says": (
        {"Shell": ["/app", "run"], "Healthcheck": {"Test": ["CMD-SHELL", "wget x"]}},
        (),
        "exec-healthcheck",
        'HEALTHCHECK runs in a shell; give CMD a list of words, ["…", "…"]',
    ),
    "a health check of no known kind": (
        {"Healthcheck": {"Test": ["cmd", "/app"]}},
        (),
        "exec-healthcheck",
        "it serves, and has no HEALTHCHECK",
    ),
    "an entrypoint for a shell": (
        {"Entrypoint": ["/bin/sh", "-c", "exec x"]},
        (),
        "exec-entrypoint",
        "ENTRYPOINT is a line for a shell; give a list of words",
    ),
    "a command for a shell": (
        {"Entrypoint": None, "Cmd": ["/bin/sh", "-c", "x"]},
        (),
        "exec-entrypoint",
        "CMD is a line for a shell; give a list of words",
    ),
    "a secret's name in the environment": (
        {"Env": ["DB_PASSWORD=x"]},
        (),
        "no-secrets",
        "the variable DB_PASSWORD looks like a secret",
    ),
    "a token under another name": (
        {"Env": [f"GREETING={TOKEN}"]},
        (),
        "no-secrets",
        "the variable GREETING looks like a secret",
    ),
    "a build arg that a step kept": (
        {"history": ("RUN |1 NPM_TOKEN=abc /bin/sh -c npm ci",)},
        (),
        "no-secrets",
        "step 1 of the history has the value of NPM_TOKEN",
    ),
    "a token in a step": (
        {"history": ("COPY app /", f"RUN curl -H {TOKEN} x")},
        (),
        "no-secrets",
        "step 2 of the history holds a token or a key",
    ),
    "an address with a password in the environment": (
        {"Env": ["DATABASE=postgres://me:hunter2@db/x"]},
        (),
        "no-secrets",
        "the variable DATABASE looks like a secret",
    ),
    "an address with a password in a step": (
        {"history": ("RUN curl https://me:hunter2@example.org/x",)},
        (),
        "no-secrets",
        "step 1 of the history has an address with a password",
    ),
    "an address with a password in a label": (
        {"Labels": {**LABELS, "from": "https://me:hunter2@example.org/x"}},
        (),
        "no-secrets",
        "the label from holds a secret",
    ),
    "a token in a file": (
        {"contents": {"srv/x.json": b'{"a": "%s"}' % TOKEN.encode()}},
        ((_entry("srv/x.json"),),),
        "no-secrets",
        "it holds a token or a key, and everybody who pulls the layer can read it",
    ),
    "a token in a file that a later layer removes": (
        {"contents": {"srv/x.json": TOKEN.encode()}},
        ((_entry("srv/x.json"),), (_entry("srv/.wh.x.json"),)),
        "no-secrets",
        "it holds a token or a key, and everybody who pulls the layer can read it",
    ),
    "an .env file": (
        {"contents": {"app2/.env": b"# x\nexport DB_PASSWORD='hunter2'\n"}},
        ((_entry("app2/.env"),),),
        "no-secrets",
        "it holds a value of DB_PASSWORD, and everybody who pulls the layer can read it",
    ),
    "what npm signs in with": (
        {"contents": {"root/.npmrc": b"//npm.example/:_authToken=hunter2\n"}},
        ((_entry("root/.npmrc"),),),
        "no-secrets",
        "it holds credentials, and everybody who pulls the layer can read it",
    ),
    "a remote of git with a password": (
        {"contents": {"src/.git/config": b"[remote]\nurl = https://me:hunter2@git.example/x\n"}},
        ((_entry("src/.git/config"),),),
        "no-secrets",
        "it holds credentials, and everybody who pulls the layer can read it",
    ),
    "a label less": (
        {"Labels": {k: v for k, v in LABELS.items() if not k.endswith("licenses")}},
        (),
        "complete-labels",
        "the label org.opencontainers.image.licenses is missing",
    ),
    "a revision that is none": (
        {"Labels": {**LABELS, "org.opencontainers.image.revision": "main"}},
        (),
        "complete-labels",
        "the revision 'main' is not a commit",
    ),
    "a time that is none": (
        {"Labels": {**LABELS, "org.opencontainers.image.created": "yesterday"}},
        (),
        "complete-labels",
        "created is 'yesterday', and no time of RFC 3339",
    ),
    "too large": ({"size_budget": 10}, (), "size-budget", "and 10 B are allowed"),
    "too many layers": (
        {"policy": Policy(max_layers=1)},
        ((_entry("b"),),),
        "layer-budget",
        "2 layers, and 1 are allowed",
    ),
    "too large a layer": (
        {"policy": Policy(layer_budget=20)},
        (),
        "layer-budget",
        "and 20 B are allowed",
    ),
    "a package manager's cache": (
        {"contents": {"var/cache/apk/APKINDEX.gz": b"x" * 2000}},
        ((_entry("var/cache/apk/APKINDEX.gz"),),),
        "no-package-cache",
        "2 kB that apk has kept",
    ),
    "a cache that a later layer hides": (
        {"contents": {"var/lib/apt/lists/x": b"x" * 2000}},
        (
            (_entry("var/lib/apt/lists/x"),),
            (_entry("var/lib/apt/.wh.lists"),),
        ),
        "no-package-cache",
        "2 kB that apt has kept, which a later layer hides and does not remove",
    ),
    "setuid behind a link whose first name goes": (
        {},
        (
            (
                _entry("opt/a", 0o4755),
                _entry("opt/b", 0o4755, type=tarfile.LNKTYPE, linkname="opt/a"),
            ),
            (_entry("opt/.wh.a"),),
        ),
        "no-setuid",
        "setuid or setgid: mode 4755",
    ),
    "a link whose first name is replaced and that everybody writes": (
        {},
        (
            (
                _entry("opt/a", 0o666),
                _entry("opt/b", 0o666, type=tarfile.LNKTYPE, linkname="opt/a"),
            ),
            (_entry("opt/a", 0o644),),
        ),
        "no-world-writable",
        "everybody can write it: mode 0666",
    ),
    "setuid": ({}, ((_entry("bin/su", 0o4755),),), "no-setuid", "setuid or setgid: mode 4755"),
    "setgid": ({}, ((_entry("bin/wall", 0o2755),),), "no-setuid", "setuid or setgid: mode 2755"),
    "a file that everybody writes": (
        {},
        ((_entry("etc/conf", 0o666),),),
        "no-world-writable",
        "everybody can write it: mode 0666",
    ),
    "a directory that everybody writes": (
        {},
        ((_entry("srv/", 0o777, type=tarfile.DIRTYPE),),),
        "no-world-writable",
        "everybody can write it: mode 0777",
    ),
    "capabilities": (
        {},
        ((_entry("bin/ping", pax_headers={"SCHILY.xattr.security.capability": "x"}),),),
        "no-capabilities",
        "it has file capabilities",
    ),
    "a program of another platform": (
        {"contents": {"bin/other": ARM64}},
        ((_entry("bin/other"),),),
        "platform-matches",
        "a program for arm64, and the image is for amd64",
    ),
}


@pytest.mark.parametrize(("changes", "layers", "rule", "message"), BROKEN.values(), ids=BROKEN)
def test_each_rule_finds_what_breaks_it_and_no_other_does(
    tmp_path: Path, changes: dict[str, object], layers: Layers, rule: str, message: str
) -> None:
    (found,) = _findings(tmp_path, *layers, **changes)  # type: ignore[arg-type]
    assert found.rule == rule
    assert found.message.endswith(message) or message in found.message
    assert found.platform == "linux/amd64"
    assert TOKEN not in str(found)


FINE: dict[str, tuple[dict[str, object], Layers]] = {
    "variables that only sound secret": (
        {"Env": ["GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305", "MAX_TOKENS=4096"]},
        (),
    ),
    "a step whose words only sound secret": (
        {"history": ("RUN /bin/sh -c TOKENS=3 AUTH=basic true # buildkit",)},
        (),
    ),
    "an .env file that is an example": (
        {"contents": {"app2/.env.example": b"DB_PASSWORD=hunter2\n"}},
        ((_entry("app2/.env.example"),),),
    ),
    "an .npmrc without a token": (
        {"contents": {"root/.npmrc": b"//npm.example/:_authToken=${NPM_TOKEN}\n"}},
        ((_entry("root/.npmrc"),),),
    ),
    "objects that no CPU runs": (
        {
            "contents": {
                "lib/prog.bpf.o": AMD64.replace(b"\x3e", b"\xf7"),
                "lib/kernel.cubin": AMD64.replace(b"\x3e", b"\xbe"),
                "lib/module.o": ARM64[:16] + b"\x01" + ARM64[17:],
            }
        },
        ((_entry("lib/prog.bpf.o"), _entry("lib/kernel.cubin"), _entry("lib/module.o")),),
    ),
}


@pytest.mark.parametrize(("changes", "layers"), FINE.values(), ids=FINE)
def test_what_is_fine_breaks_no_rule(
    tmp_path: Path, changes: dict[str, object], layers: Layers
) -> None:
    assert _findings(tmp_path, *layers, **changes) == []  # type: ignore[arg-type]


def test_a_library_of_32_bits_is_a_warning(tmp_path: Path) -> None:
    contents = {
        "lib32/libc.so": b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x03\x00\x03\x00" + bytes(44)
    }
    (found,) = _findings(tmp_path, (_entry("lib32/libc.so"),), contents=contents)
    assert (found.rule, found.level) == ("platform-matches", Level.WARNING)


def test_a_private_key_of_a_library_s_tests_is_a_warning(tmp_path: Path) -> None:
    contents = {"x/test.pem": b"-----BEGIN " + b"RSA PRIVATE KEY-----\nMII\n"}
    (found,) = _findings(tmp_path, (_entry("x/test.pem"),), contents=contents)
    assert (found.rule, found.level, found.path) == ("no-secrets", Level.WARNING, "/x/test.pem")


def test_a_name_that_is_allowed_is_no_finding(tmp_path: Path) -> None:
    layer = (_entry("app2/.env"),)
    contents = {"app2/.env": b"DB_PASSWORD=hunter2\n"}
    history = ("RUN |1 DB_PASSWORD=hunter2 /bin/sh -c x",)
    policy = Policy(allow_names=("DB_*",))
    env = ["DB_PASSWORD=hunter2"]
    found = _findings(tmp_path, layer, contents=contents, history=history, policy=policy, Env=env)
    # The file was searched without the configuration, as `read_contents` was given none.
    assert [one.path for one in found] == ["/app2/.env"]


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (b"correct-horse-9", b"x correct-horse-9 y"),
        (b"correct-horse-9\n", b"correct-horse-9"),
        (b"//r/:_auth2=abcdefghijklmn-9\n", b"TOK: abcdefghijklmn-9\n"),
        (b"correct-horse-9", b"\0" * (1 << 20) + b"correct-horse-9"),
        (b"correct-horse-9", b"\0" * ((1 << 18) * 5 + 64 - 7) + b"correct-horse-9"),
    ],
    ids=["in a line", "without its line end", "a word of it", "in a large file", "across pieces"],
)
def test_a_build_secret_that_ends_in_a_layer_is_found(
    tmp_path: Path, value: bytes, content: bytes
) -> None:
    writer = OciWriter()
    layer = writer.entries(_entry("srv/out"), contents={"srv/out": content})
    with open_archive(writer.write(tmp_path / "i.tar", writer.image([layer], config=RUNTIME))) as a:
        (one,) = a.images()
        found = list(check_image(read_contents(a, one, Known((("npm", value),))), NO_POLICY))
    assert [(f.rule, f.path) for f in found] == [("no-secrets", "/srv/out")]
    assert "the build secret npm" in found[0].message
    assert "horse" not in str(found[0])


CREATED = "2026-01-02T03:04:05Z"
OWNED = {**LABELS, "org.opencontainers.image.created": CREATED, OWNER: "thing"}


def _on_a_base(
    path: Path, labels: dict[str, str], given: Sequence[str] = ()
) -> list[tuple[str, str, bool]]:
    """Return what is wrong with an image of two layers, the first of which is a base's."""
    writer = OciWriter()
    base = writer.entries(_entry("bin/su", 0o4755))
    own = writer.entries(_entry("bin/mine", 0o4755))
    history: list[dict[str, object]] = [
        {"created_by": "ADD base", "created": "2020-01-01T00:00:00Z"},
        {"created_by": "ENV TOKEN=abc", "created": "2020-01-01T00:00:00Z", "empty_layer": True},
        {"created_by": "COPY mine", "created": CREATED},
        {"created_by": "ENV SECRET=abc", "created": CREATED, "empty_layer": True},
    ]
    config = {**RUNTIME, "Labels": labels, "Env": ["TOKEN=abc", "SECRET=abc"]}
    image = writer.image([base, own], history, config=config, created=CREATED)
    with open_archive(writer.write(path / "i.tar", image)) as archive:
        (one,) = archive.images()
        found = check_image(read_contents(archive, one), NO_POLICY, labels=given)
        return [(f.rule, f.path, f.base) for f in found]


def test_what_the_base_brings_is_told_apart_from_what_the_image_adds(tmp_path: Path) -> None:
    assert _on_a_base(tmp_path, OWNED) == [
        ("no-secrets", "TOKEN", True),
        ("no-secrets", "SECRET", False),
        ("no-setuid", "/bin/mine", False),
        ("no-setuid", "/bin/su", True),
    ]


@pytest.mark.parametrize(
    "labels",
    [
        {name: value for name, value in OWNED.items() if name != OWNER},
        {**OWNED, "org.opencontainers.image.created": "2025-01-01T00:00:00Z"},
    ],
    ids=["built by others", "built on such an image by others"],
)
def test_where_that_is_not_known_everything_counts_as_the_image_s(
    tmp_path: Path, labels: dict[str, str]
) -> None:
    assert {base for _, _, base in _on_a_base(tmp_path, labels)} == {False}


def test_a_label_of_the_base_is_not_the_project_s(tmp_path: Path) -> None:
    given = [name for name in OWNED if not name.endswith("title")]
    found = [path for rule, path, _ in _on_a_base(tmp_path, OWNED, given) if "labels" in rule]
    assert found == ["org.opencontainers.image.title"]


def test_findings_of_the_base_are_warnings_unless_they_are_to_count() -> None:
    finding = _finding("no-setuid", base=True, platform="linux/amd64", layer=1, path="/bin/su")
    assert [f.level for f in levelled([finding], release=True)] == [Level.ERROR]
    (mild,) = levelled([finding], release=True, base=Level.WARNING)
    assert (mild.level, mild.where) == (
        Level.WARNING,
        "linux/amd64 layer 1 of the base /bin/su",
    )


ROOT_STARTS = {
    "not said to drop": ({}, Level.ERROR, "it runs as 0"),
    "not seen": ({"drops_to": 1001}, Level.ERROR, "smoke has not seen it become 1001"),
    "seen": (
        {"drops_to": 1001, "seen": True},
        Level.NOTE,
        "it starts as 0, and smoke saw every process run as 1001",
    ),
}


@pytest.mark.parametrize(("facts", "level", "message"), ROOT_STARTS.values(), ids=ROOT_STARTS)
def test_a_start_as_root_is_accepted_where_smoke_saw_it_given_up(
    tmp_path: Path, facts: dict[str, Any], level: Level, message: str
) -> None:
    writer = OciWriter()
    image = writer.image([], config={**RUNTIME, "User": "0:0"})
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (one,) = archive.images()
        (found,) = check_image(read_contents(archive, one), NO_POLICY, **facts)
    assert (found.rule, found.level) == ("non-root", level)
    assert message in found.message
    report = make_report("thing", ["linux/amd64"], [found], [], TODAY)
    assert bool(report.errors) == (level is Level.ERROR)
    assert "0 warnings" in report.as_text()


SHELLS = [
    ["sh", "-c", "x"],
    ["/bin/sh", "-ec", "x"],
    ["bash", "-lc", "x"],
    ["bash", "-l", "-c", "x"],
    ["bash", "--login", "-c", "x"],
    ["bash", "--rcfile", "/etc/rc", "-c", "x"],
    ["bash", "-euo", "pipefail", "-c", "x"],
    ["bash", "+x", "-O", "extglob", "-c", "x"],
    ["/bin/busybox", "sh", "-c", "x"],
    ["busybox", "env", "A=b", "ash", "-c", "x"],
    ["env", "sh", "-c", "x"],
    ["/usr/bin/env", "-i", "-u", "A", "B=c", "dash", "-c", "x"],
    ["env", "-S", "sh -ec x"],
    ["env", "-iS", "sh", "-c", "x"],
    ["env", "-vSsh -c 'x y'"],
    ["env", "--split-string=sh -c 'x"],
    ["env", "--split-string", "A=b sh", "-c", "x"],
    ["tini", "--", "sh", "-c", "x"],
    ["timeout", "5", "fish", "--command=x"],
    ["cmd", "/S", "/C", "x"],
    ["C:\\Windows\\powershell.exe", "-Command", "x"],
]
PROGRAMS = [
    ["/entrypoint.sh"],
    ["sh"],
    ["sh", "/entrypoint.sh", "-c"],
    ["sh", "-e", "/entrypoint.sh"],
    ["bash", "--", "-c"],
    ["sh", "-", "-c"],
    ["env", "A=b", "/app", "-c"],
    ["busybox", "httpd", "-c", "x"],
    ["tini"],
    ["env", "-S", ""],
    ["/app", "sh", "-c", "x"],
    ["cmd", "/x"],
    [],
]


@pytest.mark.parametrize("words", SHELLS, ids=" ".join)
def test_a_line_for_a_shell_in_any_form(tmp_path: Path, words: list[str]) -> None:
    forms: list[dict[str, object]] = [
        {"Entrypoint": words, "Cmd": None},
        {"Entrypoint": words[:1], "Cmd": words[1:]},
        {"Entrypoint": None, "Cmd": words},
        {"Healthcheck": {"Test": ["CMD", *words]}},
    ]
    for form in forms:
        (found,) = _findings(tmp_path, **form)  # type: ignore[arg-type]
        assert found.rule in {"exec-entrypoint", "exec-healthcheck"}


@pytest.mark.parametrize("words", PROGRAMS, ids=" ".join)
def test_what_is_no_line_for_a_shell(words: list[str]) -> None:
    assert not starts_shell(words)


def test_every_rule_of_an_image_has_a_case_here() -> None:
    elsewhere = {"pinned-base", "no-latest-base", "hadolint", "build-check"}
    assert {rule for _, _, rule, _ in BROKEN.values()} | elsewhere == set(RULES)


def test_what_a_later_layer_replaces_or_removes_is_not_seen(tmp_path: Path) -> None:
    layers = (
        (_entry("bin/su", 0o4755), _entry("bin/old", 0o4755), _entry("opt/x/y", 0o666)),
        (_entry("bin/su"), _entry("bin/.wh.old"), _entry("opt/x/.wh..wh..opq")),
    )
    assert _findings(tmp_path, *layers) == []


def test_a_file_after_a_header_that_only_engines_like_is_seen(tmp_path: Path) -> None:
    writer = OciWriter()
    odd = TarEntry("a", magic=V7, fields={329: b"letters"})
    layer = writer.tar(tar(odd, TarEntry("usr/bin/evil", mode=0o4755, data=AMD64)))
    image = writer.image([layer], config=RUNTIME)
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (one,) = archive.images()
        (found,) = check_image(read_contents(archive, one), NO_POLICY)
    assert (found.rule, found.path) == ("no-setuid", "/usr/bin/evil")


def test_a_layer_that_no_engine_unpacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a layer of i\.tar can't be read") as caught:
        _findings(tmp_path, (_entry("a", type=tarfile.LNKTYPE, linkname="none"),))
    assert "missing in its layer" in caught.value.why


def test_a_sparse_program_is_of_a_platform_as_well(tmp_path: Path) -> None:
    writer = OciWriter()
    records = [(b"GNU.sparse.size", b"64"), (b"GNU.sparse.numblocks", b"2")]
    records += [(b"GNU.sparse.map", b"0,10,10,30")]
    layer = writer.tar(tar(TarEntry("bin/other", data=ARM64[:40], records=records)))
    image = writer.image([layer], config=RUNTIME)
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (one,) = archive.images()
        (found,) = check_image(read_contents(archive, one), NO_POLICY)
    assert found.rule == "platform-matches"


def test_a_file_is_reported_with_its_layer(tmp_path: Path) -> None:
    (found,) = _findings(tmp_path, (_entry("a"),), (_entry("bin/su", 0o4755),))
    assert (found.layer, found.path) == (3, "/bin/su")
    assert found.where == "linux/amd64 layer 3 /bin/su"


def test_an_image_that_does_not_serve_needs_no_health_check(tmp_path: Path) -> None:
    writer = OciWriter()
    image = writer.image([], config={**RUNTIME, "Healthcheck": None})
    with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
        (one,) = archive.images()
        assert list(check_image(read_contents(archive, one), NO_POLICY)) == []


DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("base", "rules"),
    [
        (f"alpine:3.22{DIGEST}", []),
        ("alpine:3.22", ["pinned-base"]),
        ("alpine", ["pinned-base", "no-latest-base"]),
        ("ghcr.io/you/base:latest", ["pinned-base", "no-latest-base"]),
        ("localhost:5000/base", ["pinned-base", "no-latest-base"]),
        (f"alpine{DIGEST}", []),
    ],
)
def test_bases(base: str, rules: list[str]) -> None:
    assert [finding.rule for finding in check_bases([base])] == rules


def test_a_base_that_is_not_pinned_and_was_replaced_is_one_finding() -> None:
    (found,) = check_bases(["alpine:3.22"], stand_ins=["alpine:3.22"])
    assert "is not pinned" in found.message
    assert "a placeholder was used" in found.message


def test_rules_of_a_release_only_warn_before_one() -> None:
    found = [*check_bases(["alpine"], stand_ins=["golang:1"]), _finding("non-root")]
    levels = {f.rule: f.level for f in levelled(found, release=False)}
    assert levels == {
        "pinned-base": Level.WARNING,
        "no-latest-base": Level.WARNING,
        "non-root": Level.ERROR,
    }
    assert {f.level for f in levelled(found, release=True)} == {Level.ERROR}


SAID = [
    {"code": "DL3018", "level": "warning", "line": 2, "message": "Pin versions"},
    {"code": "DL3059", "level": "info", "line": 3, "message": "Multiple RUN"},
    {"code": "DL1000", "level": "error", "line": 4, "message": "unexpected '<'"},
]


@pytest.mark.parametrize("how", ["port = 80", 'health = "running"', 'health-command = ["/x"]'])
def test_an_image_that_drops_root_is_tried_however_it_is_seen_to_be_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    text = f'image = "thing"\n[run]\nuser = 1001\ndrops-root = true\n[smoke]\n{how}\n'
    project = a_project(write_project(tmp_path, text))
    asked: list[tuple[str, ...]] = []

    def report(*_: object, dropped: Sequence[str], **__: object) -> PolicyReport:
        asked.append(tuple(dropped))
        return make_report("thing:1", ("linux/amd64",), (), (), TODAY)

    seen = PlatformResult(
        image="thing:1",
        platform="linux/amd64",
        digest="",
        version="1",
        seconds=1.0,
        checks=(CheckResult(check=DROPS_ROOT, state=CheckState.PASSED),),
    )
    archive = SimpleNamespace(images=lambda: [SimpleNamespace(platform="linux/amd64")])
    monkeypatch.setattr(Edge, "project", lambda *_: project)
    monkeypatch.setattr(policy_commands, "check_policy", report)
    monkeypatch.setattr(policy_commands, "saved", lambda *_: nullcontext(archive))
    smoked = SmokeReport(results=(seen,))
    monkeypatch.setattr(policy_commands, "try_image", lambda *_, **__: smoked)
    run = Edge(tmp_path, {}, dry=False, quiet=True)
    policy_commands.policy(run, "thing:1", release=False, sarif="", as_json=False)

    def refuse(*_: object, **__: object) -> SmokeReport:
        raise ProblemsError([ToolError("no buildx"), EngineError("no engine")])

    monkeypatch.setattr(policy_commands, "try_image", refuse)
    policy_commands.policy(run, "thing:1", release=False, sarif="", as_json=False)
    assert asked == [("linux/amd64",), ()]


def test_hadolint_is_asked_with_the_repositorys_configuration(tmp_path: Path) -> None:
    executor = FakeExecutor({("hadolint",): Completed(code=0, stdout=json.dumps(SAID))})
    found = list(run_hadolint(executor, tmp_path / "Dockerfile", tmp_path))
    assert [(f.rule, f.level, f.where) for f in found] == [
        ("hadolint/DL3018", Level.ERROR, "Dockerfile:2"),
        ("hadolint/DL3059", Level.WARNING, "Dockerfile:3"),
        # The builder could read it all the same.
        ("hadolint/DL1000", Level.WARNING, "Dockerfile:4"),
    ]
    assert found[2].message == "hadolint can't read this, and checked nothing: unexpected '<'"
    assert "--config" not in executor.asked[0]
    (tmp_path / ".hadolint.yaml").write_text("", encoding="utf-8")
    list(run_hadolint(executor, tmp_path / "Dockerfile", tmp_path))
    words = executor.asked[1]
    assert words[words.index("--config") + 1] == str(tmp_path / ".hadolint.yaml")


@pytest.mark.parametrize(
    "answers",
    [{}, {("hadolint",): Completed(code=1, stderr="no such option")}],
    ids=["it is not here", "it says nothing that can be read"],
)
def test_a_gate_that_can_not_run_has_not_passed(
    tmp_path: Path, answers: dict[tuple[str, ...], Completed]
) -> None:
    with pytest.raises(ToolError, match="hadolint"):
        list(run_hadolint(FakeExecutor(answers), tmp_path / "Dockerfile", tmp_path))


def _finding(rule: str, **facts: object) -> Finding:
    known: dict[str, object] = {"rule": rule, "level": Level.ERROR, "message": "bad"}
    return Finding(**{**known, **facts})  # type: ignore[arg-type]


def _ignore(rule: str, until: date | None = TODAY, path: str = "") -> PolicyIgnore:
    return PolicyIgnore(rule=rule, reason="vendor", until=until, path=path)


SU = _finding("no-setuid", platform="linux/amd64", layer=2, path="/bin/su")
IGNORES: dict[str, tuple[PolicyIgnore, Finding, str]] = {
    "the whole rule": (_ignore("no-setuid"), SU, "ignored"),
    "for good": (_ignore("no-setuid", None, "/bin/su"), SU, "ignored"),
    "the path": (_ignore("no-setuid", path="/bin/su"), SU, "ignored"),
    "a pattern": (_ignore("no-setuid", path="/bin/*"), SU, "ignored"),
    "another path": (_ignore("no-setuid", path="/sbin/*"), SU, "counts"),
    "another rule": (_ignore("non-root"), SU, "counts"),
    "one of hadolint's": (_ignore("hadolint/DL3018"), _finding("hadolint/DL3018"), "ignored"),
    "another one of hadolint's": (_ignore("hadolint/DL1"), _finding("hadolint/DL3018"), "counts"),
    "all of hadolint's": (_ignore("hadolint"), _finding("hadolint/DL3018"), "ignored"),
    "until yesterday": (_ignore("no-setuid", date(2026, 6, 14)), SU, "counts again"),
}


@pytest.mark.parametrize(("ignore", "finding", "outcome"), IGNORES.values(), ids=IGNORES)
def test_what_an_ignore_is_about(ignore: PolicyIgnore, finding: Finding, outcome: str) -> None:
    report = make_report("thing", ["linux/amd64"], [finding], [ignore], TODAY)
    if outcome == "ignored":
        assert (report.findings, report.ignored) == ((), ((finding, ignore),))
        assert report.problems() == []
        why = "(until 2026-06-15: vendor)" if ignore.until else "(vendor)"
        assert f"bad {why}" in report.as_text()
        assert report.as_dict()["ignored"][0]["until"] == ("2026-06-15" if ignore.until else None)
    else:
        assert report.ignored == ()
        (problem,) = report.problems()
        assert isinstance(problem, GateError)
        assert "breaks the policy: 1 error" in str(problem)
    assert report.unused == ((ignore,) if outcome == "counts" else ())
    ended = "(it was ignored until 2026-06-14)" in report.as_text()
    assert ended == (outcome == "counts again")


BAD_TABLES = {
    "an unknown key": ("max-layer = 1", "did you mean policy.max-layers"),
    "a rule that is none": (
        '[[policy.ignore]]\nrule = "no-suid"\nreason = "x"\nuntil = 2027-01-31',
        "did you mean no-setuid",
    ),
    "no reason": (
        '[[policy.ignore]]\nrule = "no-setuid"\nuntil = 2027-01-31',
        "policy.ignore lacks reason",
    ),
    "a base that is neither": ('base = "note"', '"error" or "warning"'),
    "names that are none": ("allow-names = 3", "a list of texts"),
    "a date that is none": (
        '[[policy.ignore]]\nrule = "no-setuid"\nreason = "x"\nuntil = "soon"',
        "a date, such as 2027-01-31",
    ),
    "a time instead of a date": (
        '[[policy.ignore]]\nrule = "no-setuid"\nreason = "x"\nuntil = 2027-01-31T00:00:00Z',
        "a date, such as 2027-01-31",
    ),
    "an unknown key of an ignore": (
        '[[policy.ignore]]\nrule = "no-setuid"\nreasons = "x"\nuntil = 2027-01-31',
        "did you mean policy.ignore.reason",
    ),
    "ignores that are no list": ('ignore = "no-setuid"', "a list of tables"),
}


@pytest.mark.parametrize(("text", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_a_bad_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "t"\n[policy]\n{text}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, {})
    assert message in str(caught.value)


def test_a_good_table(tmp_path: Path) -> None:
    text = """
image = "t"
[policy]
labels = ["a"]
max-layers = 9
layer-budget = "12 MB"
[[policy.ignore]]
rule = "no-setuid"
path = "/bin/su"
reason = "needed"
until = "2027-01-31"
"""
    (tmp_path / "buildlib.toml").write_text(text, encoding="utf-8")
    policy = load_config(tmp_path, {}).image_policy()
    ignore = PolicyIgnore(
        rule="no-setuid", path="/bin/su", reason="needed", until=date(2027, 1, 31)
    )
    assert policy == Policy(labels=("a",), max_layers=9, layer_budget=12_000_000, ignore=(ignore,))


def _report() -> PolicyReport:
    findings = [
        SU,
        _finding("hadolint/DL3018", line=7),
        _finding("non-root", platform="linux/arm64"),
    ]
    return make_report(
        "thing", ["linux/amd64", "linux/arm64"], findings, [_ignore("non-root")], TODAY
    )


def test_a_platform_fails_by_its_own_faults_and_by_the_dockerfiles() -> None:
    report = _report()
    assert [f.rule for f in report.errors_of("linux/amd64")] == ["no-setuid", "hadolint/DL3018"]
    assert [f.rule for f in report.errors_of("linux/arm64")] == ["hadolint/DL3018"]
    data = json.loads(json.dumps(report.as_dict()))
    assert data["passed"] is False
    assert data["ignored"][0]["until"] == "2026-06-15"


def test_sarif_has_what_code_scanning_reads() -> None:
    document = json.loads(json.dumps(as_sarif(_report(), dockerfile="docker/Dockerfile")))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == "docker/Dockerfile"
        assert physical["region"]["startLine"] >= 1
    setuid, lint, root = run["results"]
    assert setuid["message"]["text"] == "linux/amd64 layer 2 /bin/su: bad"
    assert setuid["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == (
        "linux/amd64 layer 2 /bin/su"
    )
    assert lint["locations"][0]["physicalLocation"]["region"] == {"startLine": 7}
    assert root["suppressions"] == [
        {"kind": "external", "status": "accepted", "justification": "vendor (until 2026-06-15)"}
    ]
    assert "suppressions" not in setuid
    assert {rule["helpUri"][:8] for rule in rules} == {"https://"}


def test_a_finding_keeps_its_fingerprint_when_layers_and_lines_move() -> None:
    def prints(*findings: Finding) -> list[str]:
        report = make_report("thing", [], findings, [], TODAY)
        run = as_sarif(report, dockerfile="Dockerfile")["runs"][0]
        return [next(iter(result["partialFingerprints"].values())) for result in run["results"]]

    moved = _finding("no-setuid", platform="linux/amd64", layer=5, path="/bin/su")
    other = _finding("no-setuid", platform="linux/amd64", layer=2, path="/bin/mount")
    assert prints(SU) == prints(moved)
    assert prints(SU) != prints(other)


@pytest.fixture
def whole(tmp_path: Path) -> Callable[..., PolicyReport]:
    """Return a check of a whole project, with a hadolint of given answers."""

    def check(
        config: str,
        executor: FakeExecutor,
        *,
        release: bool = False,
        dockerfile: str = DOCKERFILE,
        arch: str = "amd64",
        runtime: Mapping[str, object] = RUNTIME,
    ) -> PolicyReport:
        project = a_project(write_project(tmp_path, config, dockerfile))
        writer = OciWriter()
        labels = {**LABELS, "buildlib.stand-ins": "alpine:3.22"}
        image = writer.image([], platform=("linux", arch), config={**runtime, "Labels": labels})
        with open_archive(writer.write(tmp_path / "i.tar", image)) as archive:
            return check_policy(
                project, archive, executor, image="t:1", release=release, today=TODAY
            )

    return check


def test_image_bases_and_hadolint_come_together(whole: Callable[..., PolicyReport]) -> None:
    executor = FakeExecutor({("hadolint",): Completed(code=0, stdout=json.dumps(SAID[:1]))})
    report = whole('image = "t"\n', executor, release=True)
    assert [(f.rule, f.path) for f in report.errors] == [
        ("pinned-base", "alpine:3.22"),
        ("pinned-base", "golang:1.24-alpine"),
        ("hadolint/DL3018", ""),
    ]


@pytest.mark.parametrize("arch", ["amd64", "s390x"])
def test_the_bases_are_those_of_the_image_s_platform(
    whole: Callable[..., PolicyReport], arch: str
) -> None:
    executor = FakeExecutor({("hadolint",): Completed(code=0, stdout="[]")})
    text = "FROM $TARGETARCH/x:1\n"
    report = whole('image = "t"\n', executor, release=True, dockerfile=text, arch=arch)
    assert [f.path for f in report.errors] == [f"{arch}/x:1", "alpine:3.22"]


def test_who_ignores_hadolint_need_not_have_it(whole: Callable[..., PolicyReport]) -> None:
    config = 'image = "t"\n[[policy.ignore]]\nrule = "hadolint"\nreason = "x"\nuntil = "%s"\n'
    assert whole(config % "2026-06-15", FakeExecutor()).errors == ()
    with pytest.raises(ToolError, match="hadolint not found"):
        whole(config % "2026-06-14", FakeExecutor())


def _project(root: Path, config: str, dockerfile: str, remote: str = "") -> Project:
    write_project(root, f'image = "you/thing"\n{config}', dockerfile)
    return a_project(root, git=git_facts(remote=remote))


GITHUB = "git@github.com:you/thing.git"
COMPLETE = 'description = "d"\nlicenses = "MIT"\n'
BY_RULE = '[[policy.ignore]]\nrule = "complete-labels"\nreason = "x"\n'
INCOMPLETE = {
    "nothing is said": ("", "FROM scratch\n", "", "description, licenses, source"),
    "an origin": ("", "FROM scratch\n", GITHUB, "description, licenses"),
    "everything": (COMPLETE, "FROM scratch\n", GITHUB, ""),
    "by the Dockerfile": (
        "",
        (
            'FROM scratch AS x\nLABEL org.opencontainers.image.description="a b" \\\n'
            '  "org.opencontainers.image.licenses"=MIT\nFROM x\n'
        ),
        GITHUB,
        "",
    ),
    "by another stage": (
        'licenses = "MIT"\n',
        "FROM scratch AS x\nLABEL org.opencontainers.image.description d\nFROM scratch\n",
        GITHUB,
        "description",
    ),
    "ignored": (BY_RULE, "FROM scratch\n", "", ""),
    "one is ignored": (f'{COMPLETE}{BY_RULE}path = "*.source"\n', "FROM scratch\n", "", ""),
    "others are asked for": (
        '[policy]\nlabels = ["org.example"]\n',
        "FROM scratch\n",
        "",
        "org.example",
    ),
}


@pytest.mark.parametrize("case", INCOMPLETE)
def test_labels_that_a_release_asks_for_are_missed_before_the_build(
    tmp_path: Path, case: str
) -> None:
    config, dockerfile, remote, missing = INCOMPLETE[case]
    project = _project(tmp_path, config, dockerfile, remote)
    problems: list[BuildlibError] = []
    with collected(problems):
        check_labels(project, TODAY)
    whats = [problem.what for problem in problems]
    assert whats == ([f"the image has no label for: {missing}"] if missing else [])
    assert all("LABEL in the Dockerfile" in problem.hint for problem in problems)


def test_a_title_and_a_source_are_derived_unless_the_dockerfile_sets_them(tmp_path: Path) -> None:
    def labels(config: str, dockerfile: str) -> tuple[str, str]:
        project = _project(tmp_path, config, dockerfile, GITHUB)
        found = dict(make_build_plan(project, BuildRequest(), project.dockerfile()).labels)
        names = (f"org.opencontainers.image.{name}" for name in ("title", "source"))
        title, source = (found.get(name, "") for name in names)
        return title, source

    own = "FROM scratch\nLABEL org.opencontainers.image.title=T org.opencontainers.image.source=S\n"
    assert labels("", "FROM scratch\n") == ("thing", "https://github.com/you/thing")
    assert labels("", own) == ("", "")
    assert labels('title = "C"\nsource = "https://c"\n', own) == ("C", "https://c")


def test_a_shell_in_a_health_check_is_one_finding_on_one_line(
    whole: Callable[..., PolicyReport],
) -> None:
    said = [
        {"code": "DL3025", "level": "warning", "line": line, "message": "JSON"} for line in (2, 3)
    ]
    executor = FakeExecutor({("hadolint",): Completed(code=0, stdout=json.dumps(said))})
    shell = {**RUNTIME, "Healthcheck": {"Test": ["CMD-SHELL", "wget x"]}}
    lines = f'FROM a{DIGEST}\nCMD /x\nHEALTHCHECK CMD wget x\nCMD ["/x"]\n'
    report = whole('image = "t"\n', executor, runtime=shell, dockerfile=lines)
    assert [(str(f.level), f.line) for f in report.findings if "3025" in f.rule] == [("error", 2)]
    assert [str(f.level) for f in report.findings if "health" in f.rule] == ["warning"]


def test_what_platforms_have_in_common_is_one_row() -> None:
    both = [
        _finding("exec-healthcheck", level=Level.WARNING, platform=one, message="m")
        for one in ("linux/amd64", "linux/arm64")
    ]
    own = _finding("exec-healthcheck", level=Level.WARNING, platform="linux/arm64", message="n")
    report = make_report("i", ("linux/amd64", "linux/arm64"), [*both, own], (), TODAY)
    rows = [line.split("  ") for line in report.as_text().splitlines()[:2]]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["warning", "exec-healthcheck", "linux/amd64, linux/arm64", "m"],
        ["warning", "exec-healthcheck", "linux/arm64", "n"],
    ]
    assert [one.rule for one in report.late] == ["exec-healthcheck"] * 3
