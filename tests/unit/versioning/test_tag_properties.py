"""What holds for every rule, version, history and registry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from characters import ASCII
from hypothesis import assume, given
from hypothesis import strategies as st

from buildlib.config.tag_rules import TagRule, parse_rules
from buildlib.errors import InputError, VerificationError
from buildlib.git.facts import Changes
from buildlib.image.reference import legal_part
from buildlib.sign.version_check import check_tag_name, check_version
from buildlib.version_schemes import Naming, Parsed, Scheme
from buildlib.versioning.preconditions import Mode
from buildlib.versioning.tag_plan import TagPlan, line_values, plan_tags, tag_of, versions_in
from buildlib.versioning.version import resolve_version

from fakes import REVISION, git_facts

NUMBER = st.integers(0, 12).map(str)
TEXT = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,8}", fullmatch=True, alphabet=ASCII)
HEX = st.text(alphabet="0123456789abcdef", min_size=7, max_size=12)
VALUES = st.fixed_dictionaries(
    {
        "version": st.from_regex(r"[0-9][0-9A-Za-z_.-]{0,8}", fullmatch=True, alphabet=ASCII),
        "major": NUMBER,
        "minor": NUMBER,
        "patch": NUMBER,
        "prerelease": TEXT,
        "branch": TEXT,
        "short": HEX,
        "revision": st.text(alphabet="0123456789abcdef", min_size=40, max_size=40),
    }
)
NAMES = st.sampled_from(
    ["version", "major", "minor", "patch", "prerelease", "branch", "short", "revision"]
)
LITERALS = st.sampled_from(["", "-", ".", "_", "v", "r0", "-x-", "a", "1", "sha-", "_v"])


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Draw a template of up to three names, with anything between them."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3))
    text = draw(st.sampled_from(["", "v", "release-", "x_"]))
    return text + "".join(f"{{{name}}}{draw(LITERALS)}" for name in names)


@given(template=templates(), values=VALUES, suffix=st.sampled_from(["", "-alpine", ".1"]))
def test_a_template_is_read_back_or_refused(
    template: str, values: dict[str, str], suffix: str
) -> None:
    rule, refused = _loaded(template, suffix)
    if rule:
        assert rule.read(rule.render(values)) == {name: values[name] for name in rule.names}
    else:
        assert "can't be read back" in refused


def _loaded(template: str, suffix: str) -> tuple[TagRule | None, str]:
    try:
        return parse_rules({"rules": [template], "suffix": suffix})[0], ""
    except InputError as error:
        return None, str(error)


@pytest.mark.parametrize(
    "template",
    [
        "{version}-{branch}",
        "{major}{minor}",
        "{branch}.{version}",
        "{version}{short}",
        "{major}1{minor}",
    ],
)
def test_what_can_not_be_read_back_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="a tag would not tell where"):
        parse_rules({"rules": [template]})


@pytest.mark.parametrize(
    "template",
    [
        *("v{version}", "release-{version}", "{version}-{short}", "{short}-{version}"),
        *("{major}.{minor}", "{major}.{minor}.{patch}-{prerelease}", "{major}-{version}"),
        *("{version}-{revision}", "{branch}-{short}", "sha-{short}", "{major}_{minor}"),
    ],
)
def test_what_can_be_read_back_is_not_refused(template: str) -> None:
    assert parse_rules({"rules": [template]})


ENDS = {
    Scheme.SEMVER: ["", "", "", "-rc.1", "-alpha", "-0", "-x-y.2"],
    Scheme.PEP440: ["", "", "", ".post1", "-2", "rc1", ".dev3", "a2", "b1.dev4"],
    Scheme.CALVER: ["", "", "", "-rc1", ".dev2", "beta"],
    Scheme.ANY: ["", "", "", "-rc.1", "-alpha"],
}


@st.composite
def versions(draw: st.DrawFn, scheme: Scheme) -> str:
    """Draw a version of a scheme."""
    numbers = draw(st.lists(st.integers(0, 4), min_size=3, max_size=3))
    count = draw(st.integers(1, 3)) if scheme is Scheme.PEP440 else 3
    text = ".".join(map(str, numbers[:count]))
    if scheme is Scheme.CALVER:
        month = draw(st.sampled_from(["{}", "0{}"])).format(numbers[1] + 1)
        text = ".".join(
            [str(2020 + numbers[0]), month, *map(str, numbers[2:][: draw(st.integers(0, 1))])]
        )
    if scheme is Scheme.PEP440:
        text = draw(st.sampled_from(["", "", "1!"])) + text
    return text + draw(st.sampled_from(ENDS[scheme]))


TELLING = [
    "{version}",
    "v{version}",
    "release-{version}-x",
    "{version}-{short}",
    "{short}.{version}",
]


@given(data=st.data(), scheme=st.sampled_from(list(Scheme)), template=st.sampled_from(TELLING))
def test_what_a_rule_writes_is_the_version_that_it_reads(
    data: st.DataObject, scheme: Scheme, template: str
) -> None:
    naming = Naming(scheme=scheme)
    text = data.draw(versions(scheme))
    parsed = _parsed(naming, text)
    # A version that would be taken for another one is not published; see the next test.
    assume((naming.read(legal_part(text)) or parsed).text == text)
    (rule,) = parse_rules({"rules": [template]})
    tag = legal_part(rule.render({**line_values(parsed), "short": "abc1234"}))
    found = versions_in([tag], [rule], naming)
    assert [one.text for one, _ in found] == [text]


# Rules as they are configured; the first tells the version.
RULES = [
    ["{version}", "{major}.{minor}", "{major}", "latest"],
    ["v{version}", "v{major}.{minor}", "v{major}", "latest"],
    ["release-{version}", "stable", "latest"],
    ["{version}-slim", "{major}-slim", "latest"],
    ["{version}-{short}", "{major}.{minor}", "latest"],
]
OTHERS = ["nightly", "verified", "v", "build-99", "sha-abc1234", "9.9.9.9.x", "main", "vx9.9.9"]


def _publish(
    text: str, known: Sequence[str], rules: Sequence[TagRule], naming: Naming, held: dict[str, str]
) -> None:
    """Publish as `docker-publish` would, from a clone that knows some of the versions."""
    tags = {f"v{one}": "f" * 40 for one in known if one != text} | {f"v{text}": REVISION}
    facts = git_facts(head_tags=(f"v{text}",), tags=tags)
    version = resolve_version(facts, now=0, scheme=naming.scheme)
    plan = plan_tags(
        version, facts, Changes(), rules=rules, naming=naming, in_registry=[*held, *OTHERS]
    )
    pinned = set(plan.tags) - set(plan.floating)
    # Such a version has another image already, and the publication is refused.
    if not any(held.get(tag, text) != text for tag in pinned):
        held |= dict.fromkeys(plan.tags, text)


@given(data=st.data(), scheme=st.sampled_from(list(Scheme)), number=st.integers(0, len(RULES) - 1))
def test_no_tag_that_moves_goes_down(data: st.DataObject, scheme: Scheme, number: int) -> None:
    naming, rules = Naming(scheme=scheme), parse_rules({"rules": RULES[number]})
    history = data.draw(st.lists(versions(scheme), min_size=1, max_size=7, unique=True))
    held: dict[str, str] = {}
    for text in history:
        before = dict(held)
        _publish(text, data.draw(st.lists(st.sampled_from(history))), rules, naming, held)
        for tag in set(before) & {"latest", "stable"}:
            assert _parsed(naming, held[tag]).key >= _parsed(naming, before[tag]).key
    if "latest" in held:
        assert not _parsed(naming, held["latest"]).prerelease


def _parsed(naming: Naming, text: str) -> Parsed:
    parsed = naming.parse(text)
    assert parsed
    return parsed


@given(data=st.data(), scheme=st.sampled_from(list(Scheme)))
def test_a_release_that_is_the_highest_gets_latest_whatever_else_is_there(
    data: st.DataObject, scheme: Scheme
) -> None:
    """Words, git's moving tags and other projects' tags hold nothing back."""
    naming, rules = Naming(scheme=scheme), parse_rules({"rules": ["{version}", "latest"]})
    text = data.draw(versions(scheme))
    parsed = _parsed(naming, text)
    assume(not parsed.prerelease)
    words = data.draw(st.lists(st.sampled_from(["verified", "vnext", "nightly", "cli/v9.9.9"])))
    tags = {f"v{text}": REVISION} | dict.fromkeys(words, "f" * 40)
    facts = git_facts(head_tags=(f"v{text}",), tags=tags)
    version = resolve_version(facts, now=0, scheme=scheme)
    plan = plan_tags(version, facts, Changes(), rules=rules, naming=naming, in_registry=OTHERS)
    tag = tag_of(rules[0], parsed)
    if parsed.same(naming.read(tag)):
        assert plan.tags == (tag, "latest")
    else:
        assert ["no tag would contain" in str(problem) for problem in plan.refusals] == [True]


# --- what is signed, and the tags that name it ------------------------------------------------

MORE = [
    ["{major}.{minor}.{patch}", "{version}", "latest"],
    ["{version}", "{branch}", "sha-{short}", "pre-{prerelease}"],
    ["r{version}", {"template": "{major}", "zero": True}],
]
PREFIXES = ["v", "", "cli/v", "release-"]


@st.composite
def texts(draw: st.DrawFn, scheme: Scheme) -> str:
    """Draw a version, at times with build metadata."""
    build = {Scheme.SEMVER: "+fork.1", Scheme.ANY: "+fork.1", Scheme.PEP440: "+ubuntu1"}
    return draw(versions(scheme)) + draw(st.sampled_from(["", "", build.get(scheme, "")]))


def _published(
    text: str, rules: tuple[TagRule, ...], naming: Naming, mode: Mode = Mode.RELEASE
) -> tuple[str, TagPlan]:
    """Return the version that is written into an image, and the tags that publishing gives it."""
    named = (naming.prefix + text,) if mode is Mode.RELEASE else ()
    facts = git_facts(head_tags=named, tags=dict.fromkeys(named, REVISION))
    version = resolve_version(facts, now=0, prefix=naming.prefix, scheme=naming.scheme)
    plan = plan_tags(version, facts, Changes(), rules=rules, naming=naming, mode=mode)
    return version.value, plan


def _namings(draw: st.DataObject) -> tuple[Naming, tuple[TagRule, ...]]:
    naming = Naming(
        prefix=draw.draw(st.sampled_from(PREFIXES)), scheme=draw.draw(st.sampled_from(list(Scheme)))
    )
    suffix = draw.draw(st.sampled_from(["", "-alpine", ".slim", "_1"]))
    return naming, parse_rules(
        {"rules": draw.draw(st.sampled_from(RULES + MORE)), "suffix": suffix}
    )


def _refused(tag: str, said: str, rules: tuple[TagRule, ...], naming: Naming) -> bool:
    try:
        check_tag_name("x", tag, [said], rules, naming)
    except VerificationError:
        return True
    return False


@given(data=st.data(), mode=st.sampled_from(list(Mode)))
def test_what_publishing_tags_verifies_under_its_tags(data: st.DataObject, mode: Mode) -> None:
    naming, rules = _namings(data)
    said, plan = _published(data.draw(texts(naming.scheme)), rules, naming, mode)
    for tag in plan.tags:
        assert not _refused(tag, said, rules, naming), (tag, said)


@given(data=st.data())
def test_another_version_does_not_verify_under_a_tag_that_names_one(data: st.DataObject) -> None:
    naming, rules = _namings(data)
    said, own = _published(data.draw(texts(naming.scheme)), rules, naming)
    other, plan = _published(data.draw(texts(naming.scheme)), rules, naming)
    one, two = naming.parse(said), naming.parse(other)
    assert one
    assume(not one.same(two))
    with pytest.raises(VerificationError):
        check_version("x", other, [said], naming)
    telling = [rule for rule in rules if rule.has_version]
    for tag in set(plan.tags) - set(own.tags):
        # By a rule that names no version it could be anything: a word, a branch, a commit.
        if tag not in plan.floating and any(rule.version_in(tag) for rule in telling):
            assert _refused(tag, said, rules, naming), (tag, said)
