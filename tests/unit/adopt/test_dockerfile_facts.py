from __future__ import annotations

import pytest

from buildlib.adopt.dockerfile_facts import DockerfileFacts, HealthCheck, read_facts


def _ports(text: str) -> list[int]:
    return [one.value for one in read_facts(f"FROM x\n{text}").ports]


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("EXPOSE 8080", [8080]),
        ("EXPOSE 80 443/tcp 53/udp", [80, 443]),
        ("EXPOSE 8080\nEXPOSE 8080", [8080]),
        ("ENV PORT=3000\nEXPOSE $PORT", [3000]),
        ("ENV PORT 3000\nEXPOSE ${PORT}/tcp", [3000]),
        ("ARG PORT=3000\nEXPOSE ${PORT:-80}", [3000]),
        ("ARG PORT=3000\nENV PORT=4000\nEXPOSE $PORT", [4000]),
        ("ARG PORT\nEXPOSE ${PORT:-80}", [80]),
        ("EXPOSE 8000-8010 0 70000 x ٣", []),
        ("expose \\\n  8080", [8080]),
        ("RUN <<END\nEXPOSE 1\nEND\n# EXPOSE 2\nEXPOSE 3", [3]),
    ],
)
def test_ports_are_those_of_expose(text: str, ports: list[int]) -> None:
    assert _ports(text) == ports


def test_a_global_argument_is_seen_where_it_is_declared() -> None:
    assert [one.value for one in read_facts("ARG P=81\nFROM x\nARG P\nEXPOSE $P").ports] == [81]


def test_only_the_built_stage_counts_and_those_that_it_is_based_on() -> None:
    text = (
        "FROM x AS base\nUSER 7\nEXPOSE 1\nVOLUME /v\n"
        "FROM y AS build\nEXPOSE 2\nUSER 8\nFROM base\nEXPOSE 3\n"
    )
    facts = read_facts(text)
    assert [one.value for one in facts.ports] == [1, 3]
    assert (facts.uid, [one.value for one in facts.volumes]) == (7, ["/v"])
    assert [one.value for one in read_facts(text, "build").ports] == [2]
    assert facts.user
    assert facts.user.line == 2


def _health(command: str) -> HealthCheck | None:
    found = read_facts(f"FROM x\nENV PORT=8080\nHEALTHCHECK --interval=5s {command}\n").health
    return found.value if found else None


@pytest.mark.parametrize(
    ("command", "scheme", "port", "path"),
    [
        ("CMD curl -f http://localhost:8080/health || exit 1", "http", 8080, "/health"),
        ("CMD curl -f http://localhost || exit 1", "http", 80, "/"),
        ('CMD ["wget", "-q", "-O-", "http://127.0.0.1:90/a?b=c"]', "http", 90, "/a?b=c"),
        ('CMD curl "http://localhost:${PORT}/x"', "http", 8080, "/x"),
        ("CMD curl -fk https://[::1]/x", "https", 443, "/x"),
        ("cmd node -e \"require('http').get('http://0.0.0.0:3/h', x)\"", "http", 3, "/h"),
        ("CMD curl http://example.org/x", "", 0, ""),
        ("CMD pg_isready", "", 0, ""),
    ],
)
def test_a_health_check_says_what_it_asks(command: str, scheme: str, port: int, path: str) -> None:
    found = _health(command)
    assert found
    assert (found.scheme, found.port, found.path) == (scheme, port, path)


def test_a_health_check_runs_words_or_a_line() -> None:
    exec_form, line = _health('CMD ["a", "b c"]'), _health("CMD a $PORT || exit 1")
    assert exec_form
    assert line
    assert exec_form.words == ("a", "b c")
    assert line.words == ("/bin/sh", "-c", "a $PORT || exit 1")


def test_none_takes_a_health_check_away() -> None:
    assert _health("NONE") is None
    assert _health("CMD") is None
    text = "FROM x AS a\nHEALTHCHECK CMD y\nFROM a\nHEALTHCHECK NONE\n"
    assert read_facts(text).health is None


@pytest.mark.parametrize(
    ("text", "uid"),
    [
        ("USER 1001:1002", 1001),
        ("USER nonroot:nonroot", 65532),
        ("USER root", 0),
        ("RUN adduser -D -u 1234 app\nUSER app", 1234),
        ("RUN groupadd -g 5 app && useradd --uid=1235 -g app app; echo x\nUSER app", 1235),
        ("RUN useradd -u1236 app\nUSER app", 1236),
        ("RUN adduser --uid 1237 other && x app\nUSER app", None),
        ("RUN adduser app\nUSER app", None),
        ("RUN adduser -u $X app\nUSER app", None),
        ("ARG U=9\nUSER $U", 9),
        ("USER 99999999999", None),
        ("USER ٣", None),
        ("", None),
    ],
)
def test_a_user_has_a_number_where_it_can_be_known(text: str, uid: int | None) -> None:
    assert read_facts(f"FROM x\n{text}").uid == uid


@pytest.mark.parametrize(
    ("text", "volumes"),
    [
        ("VOLUME /a /b", ["/a", "/b"]),
        ('VOLUME ["/a b"]', ["/a b"]),
        ("ENV D=/data\nVOLUME $D/x", ["/data/x"]),
        ("VOLUME relative /", []),
    ],
)
def test_volumes_are_absolute_paths(text: str, volumes: list[str]) -> None:
    assert [one.value for one in read_facts(f"FROM x\n{text}").volumes] == volumes


def test_arguments_are_told_by_what_they_are_for() -> None:
    text = (
        "ARG BASE\nFROM x:$BASE\nARG VERSION=1.2.3\nARG TARGETARCH\nARG KEY\n"
        "ADD https://x.example/${VERSION}.tar /\n"
    )
    facts = read_facts(text)
    assert facts.downloads == {"VERSION"}
    assert facts.wanting == ("BASE", "KEY")


@pytest.mark.parametrize("text", ["", "\ufeff", "EXPOSE 1", "ARG X=1", "FROM", "\0", "FROM x AS"])
def test_what_can_not_be_understood_is_no_error(text: str) -> None:
    assert isinstance(read_facts(text), DockerfileFacts)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter() -> None:
    facts = read_facts("\ufeffFROM x\r\nEXPOSE 8080\r\nUSER 7\r\n")
    assert ([one.value for one in facts.ports], facts.uid) == ([8080], 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('FROM x\nENTRYPOINT ["/app"]\nCMD ["-h"]', ("/app", "-h")),
        ('FROM x\nCMD ["-h"]\nENTRYPOINT ["/app"]', ("/app", "-h")),
        # An entrypoint resets the command of the stage below, as BuildKit does.
        ('FROM x AS base\nCMD ["a"]\nFROM base\nENTRYPOINT ["/app"]', ("/app",)),
        ("FROM x\nCMD app --serve", ("/bin/sh", "-c", "app --serve")),
        ('FROM x\nENTRYPOINT ["/app"]\nENTRYPOINT []', ()),
        ("FROM x", ()),
    ],
)
def test_a_container_starts_entrypoint_and_command(text: str, words: tuple[str, ...]) -> None:
    assert read_facts(text).main_command == words


def test_an_image_of_files_starts_nothing() -> None:
    assert read_facts("FROM x AS build\nCMD a\nFROM scratch\nCOPY --from=build / /").is_of_files
    assert not read_facts("FROM scratch\nCMD ['a']").is_of_files
    # Its base may start something.
    assert not read_facts("FROM x").is_of_files
