from __future__ import annotations

import pytest

from buildlib.errors import InputError
from buildlib.image.platform import (
    KNOWN,
    engine_platform,
    host_platform,
    meant_platform,
    parse_platform,
    parse_platforms,
    platform_name,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("linux/amd64", "linux/amd64", id="a full name stays"),
        pytest.param("linux/x86_64", "linux/amd64", id="uname's name is translated"),
        pytest.param("arm64", "linux/arm64", id="an architecture alone means linux"),
        pytest.param("aarch64", "linux/arm64", id="an alias alone means linux"),
        pytest.param("linux/arm64/v8", "linux/arm64", id="the default variant is dropped"),
        pytest.param("linux/arm/v7", "linux/arm/v7", id="a variant stays"),
        pytest.param("armhf", "linux/arm/v7", id="Debian's name gets its variant"),
        pytest.param(" Linux/AMD64 ", "linux/amd64", id="case and blanks do not matter"),
        pytest.param("darwin/arm64", "darwin/arm64", id="another system is known"),
        pytest.param("linux/amd64/v3", "linux/amd64/v3", id="any variant is one"),
        pytest.param("amd64/v2", "linux/amd64/v2", id="a variant without a system"),
        pytest.param("linux/arm64/v9", "linux/arm64/v9", id="a later variant"),
        pytest.param("linux/amd64/v1", "linux/amd64", id="the first variant is dropped"),
        pytest.param("linux/mips64", "linux/mips64", id="an architecture that few have"),
        pytest.param("wasi/wasm", "wasi/wasm", id="a system that is none"),
        pytest.param("freebsd/amd64", "freebsd/amd64", id="a system that few have"),
    ],
)
def test_platform_is_normalised(text: str, expected: str) -> None:
    assert str(parse_platform(text)) == expected


def test_every_known_platform_is_its_own_normal_form() -> None:
    assert [str(parse_platform(name)) for name in KNOWN] == list(KNOWN)


@pytest.mark.parametrize(
    "text",
    ["linux/amd46", "plan9", "", "linux/", "linux/amd64/v9/x", "linux/amd64/", "linux/amd64/ v3"],
)
def test_unknown_platform_lists_the_known_ones(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_platform(text)
    assert "linux/arm64" in caught.value.hint


def test_a_near_miss_is_guessed() -> None:
    with pytest.raises(InputError, match="did you mean linux/amd64"):
        parse_platform("linux/amd46")


def test_lists_split_at_commas_and_blanks_and_doubles_count_once() -> None:
    found = parse_platforms(["linux/amd64,arm64", "linux/x86_64\nlinux/arm/v7", ""])
    assert [str(platform) for platform in found] == ["linux/amd64", "linux/arm64", "linux/arm/v7"]


def test_slug_has_no_slash() -> None:
    assert parse_platform("linux/arm/v7").slug == "linux-arm-v7"


def test_this_machine_has_a_platform() -> None:
    assert str(host_platform()) in KNOWN


def test_an_engine_here_has_this_machine_s_architecture_and_linux() -> None:
    assert str(engine_platform()) in {f"linux/{host_platform().arch}", str(host_platform())}
    assert str(engine_platform("aarch64")) == "linux/arm64"
    assert str(engine_platform("sparc64")) == "linux/sparc64"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(("linux", "arm64", "v8"), "linux/arm64", id="the default variant is left out"),
        pytest.param(("linux", "amd64", "v1"), "linux/amd64", id="of amd64 as well"),
        pytest.param(("linux", "arm64", ""), "linux/arm64", id="or was never there"),
        pytest.param(("linux", "arm", "v7"), "linux/arm/v7", id="another variant stays"),
        pytest.param(("linux", "amd64", "v3"), "linux/amd64/v3", id="one that is more as well"),
        pytest.param(("linux", "mips", ""), "linux/mips", id="what is not known stays"),
        pytest.param(("unknown", "unknown", None), "unknown/unknown", id="an attestation's"),
        pytest.param((None, None, None), "", id="nothing is said"),
    ],
)
def test_what_an_index_says_is_normalised(said: tuple[str | None, ...], expected: str) -> None:
    keys = ("os", "architecture", "variant")
    assert platform_name(dict(zip(keys, said, strict=True))) == expected


@pytest.mark.parametrize(
    ("wanted", "known", "meant"),
    [
        ("linux/amd64", ["linux/amd64", "linux/amd64/v2"], "linux/amd64"),
        ("linux/amd64", ["linux/amd64/v2", "linux/arm64"], "linux/amd64/v2"),
        ("linux/arm64", ["linux/arm64/v9"], "linux/arm64/v9"),
        ("linux/amd64/v2", ["linux/amd64/v2", "linux/amd64/v3"], "linux/amd64/v2"),
        # Which one this machine would take nobody says, and a variant that is named is meant.
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64/v3"], ""),
        ("linux/amd64/v3", ["linux/amd64"], ""),
        ("linux/arm/v7", ["linux/arm/v6"], ""),
        ("linux/amd64", ["windows/amd64", "linux/386"], ""),
        ("linux/amd64", [], ""),
    ],
)
def test_an_architecture_means_its_only_variant(wanted: str, known: list[str], meant: str) -> None:
    found = meant_platform(parse_platform(wanted), parse_platforms(known))
    assert str(found or "") == meant
