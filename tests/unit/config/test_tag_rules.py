"""Tag rules as they are configured: what each form means, and which can't be."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from characters import ASCII
from hypothesis import given
from hypothesis import strategies as st

from buildlib.commands.promote import never_moves
from buildlib.config.config import Config
from buildlib.config.load import load_config
from buildlib.config.tables import Registry
from buildlib.config.tag_rules import DEFAULT_RULES, Line, TagRule, VersionKind, parse_rules, pins
from buildlib.errors import InputError
from buildlib.git.facts import Changes
from buildlib.image.reference import legal_part
from buildlib.version_schemes import Naming, Scheme
from buildlib.versioning.tag_plan import plan_tags
from buildlib.versioning.version import resolve_version

from fakes import REVISION, git_facts

ELSEWHERE = "f" * 40


def _rules(text: str) -> tuple[TagRule, ...]:
    return parse_rules(tomllib.loads(text))


def test_no_rules_are_the_default_ones() -> None:
    assert parse_rules({}) == DEFAULT_RULES


def test_every_default_rule_has_its_template_as_a_short_form() -> None:
    templates = [rule.template for rule in DEFAULT_RULES]
    assert parse_rules({"rules": templates}) == DEFAULT_RULES


SHORT = {
    "{version}-x": (
        {VersionKind.RELEASE, VersionKind.PRERELEASE, VersionKind.OTHER, VersionKind.SNAPSHOT},
        None,
    ),
    "{major}-{minor}": ({VersionKind.RELEASE}, Line.MINOR),
    "v{major}": ({VersionKind.RELEASE}, Line.MAJOR),
    "{major}.{minor}.{patch}": ({VersionKind.RELEASE}, None),
    "pre-{prerelease}": ({VersionKind.PRERELEASE}, None),
    "stable": ({VersionKind.RELEASE}, Line.ALL),
    "{branch}": ({VersionKind.EDGE}, None),
    "git-{revision}": ({VersionKind.EDGE}, None),
}


@pytest.mark.parametrize("template", SHORT)
def test_a_template_alone_has_the_conditions_that_go_without_saying(template: str) -> None:
    (rule,) = parse_rules({"rules": [template]})
    assert (set(rule.on), rule.highest) == SHORT[template]


def test_conditions_are_taken_from_the_table() -> None:
    (rule,) = _rules(
        'rules = [{ template = "{major}", on = ["release", "prerelease"], highest = "all",'
        ' zero = true, branches = ["main"], suffix = "-x" }]'
    )
    assert rule == TagRule(
        template="{major}",
        on=(VersionKind.RELEASE, VersionKind.PRERELEASE),
        highest=Line.ALL,
        zero=True,
        branches=("main",),
        suffix="-x",
    )


def test_a_kind_without_an_order_drops_the_order_of_the_short_form() -> None:
    (rule,) = _rules('rules = [{ template = "latest", on = ["edge"] }]')
    assert rule.highest is None


BAD = {
    "an unknown name": ('rules = ["{vesion}"]', "did you mean version"),
    "a name without braces' end": ('rules = ["{version"]', "can't become a tag"),
    "an empty name": ('rules = ["{}"]', "unknown name {}"),
    "a format": ('rules = ["{major:02}"]', "unknown name {major:02}"),
    "an empty template": ('rules = [""]', "can't become a tag"),
    "no template": ('rules = [{ on = ["release"] }]', "has no template"),
    "a slash": ('rules = ["a/b"]', "can't become a tag"),
    "a leading dot": ('rules = [".x"]', "can't become a tag"),
    "a number": ("rules = [1]", "must be a text or a table"),
    "no rule at all": ("rules = []", "with a rule in it"),
    "rules that are no list": ('rules = "latest"', "must be a list"),
    "an unknown key": ('rules = [{ template = "x", higest = "all" }]', "rules[0].highest?"),
    "an unknown key of the table": ('sufix = "-x"', "did you mean tags.suffix"),
    "an unknown kind": ('rules = [{ template = "x", on = ["relase"] }]', "did you mean release"),
    "kinds that are no list": ('rules = [{ template = "x", on = "release" }]', "list of texts"),
    "no kind": ('rules = [{ template = "x", on = [] }]', "on is empty: the rule can never apply"),
    "no branch": (
        'rules = [{ template = "x", branches = [] }]',
        "branches is empty: the rule can never apply",
    ),
    "an unknown line": ('rules = [{ template = "x", highest = "mayor" }]', "did you mean major"),
    "a list of lines": ('rules = [{ template = "x", highest = ["x"] }]', "unknown value ['x']"),
    "a table of lines": ('rules = [{ template = "x", highest = {} }]', "unknown value {}"),
    "a word for yes": ('rules = [{ template = "x", zero = "no" }]', "true or false"),
    "a suffix with a slash": ('suffix = "/x"', "can't be part of a tag"),
    "a suffix that is a number": ("suffix = 1", "can't be part of a tag"),
    "a rule that already exists": ('rules = ["latest", "x", "latest"]', "repeats tags.rules[0]"),
    "the same on one kind of two": (
        'rules = ["{version}", { template = "{version}", on = ["edge", "other"] }]',
        "repeats tags.rules[0]",
    ),
    "numbers of what has none": (
        'rules = [{ template = "{major}", on = ["other"] }]',
        "can never apply",
    ),
    "a prerelease of a release": (
        'rules = [{ template = "{prerelease}", on = ["release"] }]',
        "can never apply",
    ),
    "the highest of what has no order": (
        'rules = [{ template = "x", on = ["edge", "other"], highest = "all" }]',
        "can never apply",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_what_is_no_rule_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "x"\n[tags]\n{text}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, {})
    assert message in str(caught.value)
    assert caught.value.hint or " must be " in caught.value.what


def test_the_message_says_which_rule_of_which_table(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text(
        'image = "x"\n[registries.hub]\nrepository = "hub.example/x"\n'
        '[registries.hub.tags]\nrules = ["latest", "{vesion}"]\n',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"hub\.tags\.rules\[1\]\.template: unknown name {vesion}"):
        load_config(tmp_path, {})


REGISTRIES = """
image = "x"
[tags]
suffix = "-alpine"
[registries.own]
repository = "one.example/Team/x"
tags = { rules = ["{version}"] }
[registries.plain]
repository = "two.example/x"
"""


def test_a_registry_has_its_own_rules_or_those_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "buildlib.toml").write_text(REGISTRIES, encoding="utf-8")
    config = load_config(tmp_path, {})
    own, plain = config.registries
    assert (own.name, own.repository) == ("own", "one.example/team/x")
    assert [rule.template for rule in config.tag_rules(own)] == ["{version}"]
    assert config.tag_rules(plain) == config.tag_rules() == config.tags
    assert {rule.suffix for rule in config.tags} == {"-alpine"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[registries]\nhub = 1", "repository"),
        ("[registries.hub]\ntags = {}", "repository"),
        ('[registries.hub]\nrepository = "x:1"', "without tag or digest"),
        ('[registries.hub]\nrepository = "x"\ntgs = {}', "did you mean registries.hub.tags"),
        ("registries = []", "a table"),
        ("tags = []", "must be a table"),
    ],
)
def test_a_registry_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "buildlib.toml").write_text(f'image = "x"\n{text}\n', encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_config(tmp_path, {})
    assert message in str(caught.value)


@pytest.mark.parametrize("prefix", ["a b", "v*", "v?", "v[", "v~", "a..b", "-v", "/v", "v\\", "@{"])
def test_a_prefix_that_git_could_not_have_is_refused(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "buildlib.toml").write_text(
        f"image = \"x\"\ntag-prefix = '{prefix}'\n", encoding="utf-8"
    )
    with pytest.raises(InputError, match="tag-prefix"):
        load_config(tmp_path, {})


# What may stand in a git tag and not in an image tag, and what it becomes.
LETTERS = st.text(alphabet="ab19.-+#_/ü", max_size=8).map("1".__add__)


@given(LETTERS, LETTERS)
def test_two_versions_never_come_to_one_tag_unnoticed(one: str, other: str) -> None:
    facts = git_facts(head_tags=(one,), tags={one: REVISION, other: ELSEWHERE})
    version = resolve_version(facts, now=0, prefix="", scheme=Scheme.ANY)
    naming = Naming(prefix="", scheme=Scheme.ANY)
    plan = plan_tags(version, facts, Changes(), rules=DEFAULT_RULES, naming=naming)
    clash = [str(problem) for problem in plan.refusals if "two versions" in str(problem)]
    if one != other and legal_part(one) and legal_part(one) == legal_part(other):
        assert len(clash) == 1
        assert one in clash[0]
        assert other in clash[0]
        assert plan.tags == ()
    else:
        assert clash == []


@given(st.text(alphabet="ab19.-+#_/ü", min_size=1, max_size=200))
def test_every_tag_of_a_plan_is_legal_and_what_was_changed_is_told(text: str) -> None:
    facts = git_facts(head_tags=(text,), tags={text: REVISION})
    version = resolve_version(facts, now=0, prefix="", scheme=Scheme.ANY)
    naming = Naming(prefix="", scheme=Scheme.ANY)
    plan = plan_tags(version, facts, Changes(), rules=DEFAULT_RULES, naming=naming)
    assert all(legal_part(tag) == tag for tag in plan.tags)
    if plan.tags and plan.tags[0] != text:
        assert (text, plan.tags[0]) in plan.mapped


PINNED = {
    "a version": ("{version}", "1.2.3", True),
    "a version that is not SemVer": ("{version}", "20200110-RC2", True),
    "a version with its prefix": ("v{version}", "v1.2.3", True),
    "a version whose prefix was not cut": ("{version}", "v1.2.3", True),
    "a version with a suffix": ("{version}-alpine", "20200110-alpine", True),
    "another suffix": ("{version}-alpine", "20200110-debian", True),
    "the three numbers": ("{major}.{minor}.{patch}", "1.2.3", True),
    "a commit": ("sha-{short}", "sha-abc1234", True),
    "what only begins like a commit": ("sha-{short}", "sha-thing", False),
    "a line": ("{major}.{minor}", "1.2", False),
    "a word": ("stable", "stable", False),
    "a word that no rule has": ("{version}", "stable", False),
    "a branch": ("{branch}", "main", False),
}


@pytest.mark.parametrize(("template", "tag", "expected"), PINNED.values(), ids=PINNED)
def test_what_stands_for_one_image_for_ever(template: str, tag: str, *, expected: bool) -> None:
    rules = parse_rules({"rules": list(dict.fromkeys(["{version}", "{major}.{minor}", template]))})
    assert pins(rules, tag) is expected


def test_what_a_rule_moves_is_not_pinned_by_another() -> None:
    assert not any(pins(DEFAULT_RULES, tag) for tag in ("latest", "edge", "1", "1.2", "2020"))
    # Where no rule gives a line, its tag is a version like any other.
    assert pins(parse_rules({"rules": ["{version}"]}), "1.2")
    # A branch may be called anything, and the version stays.
    assert pins(parse_rules({"rules": ["{version}", "{branch}"]}), "20200110-RC2")


@given(text=st.from_regex(r"v?[0-9]{1,4}[-.A-Za-z0-9]{0,20}", fullmatch=True, alphabet=ASCII))
def test_what_publishing_pins_never_moves_by_hand(text: str) -> None:
    facts = git_facts(head_tags=(f"v{text}",), nearest_tag=f"v{text}", description=f"v{text}")
    plan = plan_tags(resolve_version(facts, now=0), facts, Changes(), rules=DEFAULT_RULES)
    config = Config(root=Path(), image="thing")
    registry = Registry(name="one", repository="one.example/thing")
    for tag in set(plan.tags) - set(plan.floating):
        assert never_moves(config, registry, tag, [text]), tag
    for tag in set(plan.floating) - {text}:
        assert not never_moves(config, registry, tag, [text]), tag
