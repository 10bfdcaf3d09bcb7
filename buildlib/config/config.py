"""Configuration: defaults < file < environment < command line, each value with its source.

The file is `buildlib.toml`, or the table `[tool.buildlib]` in `pyproject.toml`; the first one
found going up from the starting directory makes that directory the project's root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from buildlib.config import images as image_tables
from buildlib.config import key_types
from buildlib.config import tables as config_tables
from buildlib.config.file import OWN_FILE, Places, find_table, read_toml
from buildlib.config.key_types import (
    BUILD_ARGS,
    NAMES,
    PAIRS,
    TEXT,
    TEXTS,
    KeyProblemError,
    setting,
)
from buildlib.config.tables import BaseImage, Registry, Run, Smoke
from buildlib.config.tag_rules import (
    DEFAULT_RULES,
    LOCAL_TAGS,
    TAGS,
    TagRule,
    latest_tag,
    version_ending,
)
from buildlib.config.variables import BASE_IMAGES, OTHERS, PREFIX
from buildlib.errors import BuildlibError, InputError, ProblemsError, nearest, raise_problems
from buildlib.image.platform import Platform
from buildlib.image.reference import LATEST, parse_reference
from buildlib.version_schemes import Naming, Scheme

if TYPE_CHECKING:
    from buildlib.config.bases import Bases
    from buildlib.config.build_options import BuildSettings
    from buildlib.config.builders import BuilderSettings
    from buildlib.config.diff import DiffSettings
    from buildlib.config.goreleaser import GoReleaser
    from buildlib.config.policy import Policy
    from buildlib.config.publish import Publish
    from buildlib.config.records import Records
    from buildlib.config.scan import ScanSettings
    from buildlib.config.signing import Sign, Verify

# Tables that a hint names for all images of a repository.
_ALIKE_EVERYWHERE: Final = frozenset({"registries", "publish", "sign", "verify"})
_ONE_IMAGE: Final = "the project has one image: its configuration has no tables [images.NAME]"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a value came from; `detail` is a path, a variable or an option."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        """Return `file (pyproject.toml)`, `default`, …."""
        return f"{self.kind} ({self.detail})" if self.detail else self.kind


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a repository says about its image; frozen, and knows its sources.

    Args:
        file: the name of the file that it was read from, or nothing.
        name: of the table `[images.NAME]` that it is of; empty: the project has one image.
        context_include, context_allow: of the table `context`.
    """

    root: Path
    file: str = ""
    name: str = ""
    image: str = setting(
        config_tables.IMAGE, "repository of the image, with its registry if it has one", default=""
    )
    context: str = setting(
        config_tables.CONTEXT, "directory that is built, or a table", default="."
    )
    context_include: tuple[str, ...] = ()
    context_allow: tuple[str, ...] = ()
    dockerfile: str = setting(TEXT, "Dockerfile, relative to the project", default="Dockerfile")
    target: str = setting(TEXT, "stage that is built; left out: the last one", default="")
    binary_target: str = setting(TEXT, "stage whose files invoke binary takes out", default="")
    platforms: tuple[Platform, ...] = setting(
        config_tables.PLATFORMS, "platforms that --platform all means", default=()
    )
    tag_prefix: str = setting(
        config_tables.PREFIX, "prefix of the git tags that count; cli/v in a monorepo", default="v"
    )
    version_scheme: Scheme = setting(
        config_tables.SCHEME,
        "what the rest of a git tag has to be to name a version",
        default=Scheme.SEMVER,
    )
    tags: tuple[TagRule, ...] = setting(
        TAGS,
        "tags that a publication gives; left out: the usual ones",
        default=(),
    )
    local_tags: tuple[str, ...] = setting(
        LOCAL_TAGS,
        "tags of a local build, such as {version} or dev; left out: the version and latest",
        default=(),
    )
    release_branches: tuple[str, ...] = setting(
        NAMES,
        "patterns of the branches that invoke tag tags; left out: the default branch",
        default=(),
    )
    registries: tuple[Registry, ...] = setting(
        config_tables.REGISTRIES, "where releases are published", default=()
    )
    title: str = setting(TEXT, "OCI label title", default="")
    description: str = setting(TEXT, "OCI label description", default="")
    licenses: str = setting(TEXT, "OCI label licenses, an SPDX expression", default="")
    source: str = setting(TEXT, "OCI label source; left out: the address of origin", default="")
    labels: tuple[tuple[str, str], ...] = setting(PAIRS, "further labels", default=())
    build_args: tuple[tuple[str, str], ...] = setting(
        BUILD_ARGS, "build args, passed where the Dockerfile declares them", default=()
    )
    inject: tuple[tuple[str, str], ...] = setting(
        config_tables.INJECT,
        "names of the build args for version, revision and time; false: none",
        default=(),
    )
    secrets: tuple[tuple[str, str, str], ...] = setting(
        config_tables.SECRETS, "secrets that every build gets", default=()
    )
    builder: str = setting(TEXT, "builder of buildx; left out: its current one", default="")
    builders: tuple[BuilderSettings, ...] = setting(
        config_tables.BUILDERS, "builders that docker-builder makes, with their nodes", default=()
    )
    build: BuildSettings | None = setting(
        config_tables.BUILD, "further options of buildx, for every build", default=None
    )
    cache_from: tuple[str, ...] = setting(TEXTS, "as --cache-from of buildx", default=())
    cache_to: tuple[str, ...] = setting(TEXTS, "as --cache-to of buildx", default=())
    progress: str = setting(config_tables.PROGRESS, "as --progress of buildx", default="auto")
    clean: tuple[str, ...] = setting(
        config_tables.PATHS_BELOW, "what invoke clean removes beside its own files", default=()
    )
    base_images: tuple[tuple[str, BaseImage], ...] = setting(
        config_tables.BASE_IMAGES,
        "other sources for the images that the Dockerfile names",
        default=(),
    )
    images: tuple[str, ...] = setting(
        image_tables.IMAGES,
        "images of this repository, each with what it has differently; left out: it is one",
        default=(),
    )
    smoke: Smoke = setting(
        config_tables.SMOKE, "what docker-smoke checks", default=config_tables.NO_SMOKE
    )
    run: Run = setting(
        config_tables.RUN, "how docker-run runs the image", default=config_tables.NO_RUN
    )
    bases: Bases | None = setting(config_tables.BASES, "how base images are checked", default=None)
    policy: Policy | None = setting(config_tables.POLICY, "what docker-policy allows", default=None)
    scan: ScanSettings | None = setting(
        config_tables.SCAN, "what docker-scan lets pass", default=None
    )
    diff: DiffSettings | None = setting(
        config_tables.DIFF, "which changes since the last release fail the gate diff", default=None
    )
    publish: Publish | None = setting(
        config_tables.PUBLISH, "what a release has to pass", default=None
    )
    goreleaser: GoReleaser | None = setting(
        config_tables.GORELEASER, "GoReleaser's configuration", default=None
    )
    sign: Sign | None = setting(config_tables.SIGN, "what signs a release", default=None)
    verify: Verify | None = setting(config_tables.VERIFY, "what counts as signed", default=None)
    records: Records | None = setting(
        config_tables.RECORDS, "what is kept of each build; false: nothing", default=None
    )
    sources: Mapping[str, Source] = field(default_factory=dict)

    def source_of(self, key: str) -> Source:
        """Return where the value of a key (with dashes, as in the file) came from."""
        return self.sources.get(key, Source(kind="default"))

    def folder(self, name: str) -> str:
        """Return a folder that tasks write, below the project; each image has its own."""
        return f"{name}/{self.name}" if self.name else name

    def images_below(self) -> tuple[str, ...]:
        """Return the images of the same repository that this one may be based on."""
        sources = (image.source for _, image in self.base_images)
        here = image_tables.FROM_HERE
        return tuple(
            dict.fromkeys(one.removeprefix(here) for one in sources if one.startswith(here))
        )

    def table(self, name: str) -> str:
        """Return the heading of a table in the file at hand, for hints: `[verify]`, ….

        Of several images it is that of this one, unless all of them will want the same.
        """
        own = self.name and name.partition(".")[0] not in _ALIKE_EVERYWHERE
        name = f"images.{self.name}.{name}" if own else name
        return f"[{name}]" if self.file == OWN_FILE else f"[tool.buildlib.{name}]"

    def injected(self) -> dict[str, str]:
        """Return what the build args are called that say version, revision and time; '': none."""
        return {name: name for name in config_tables.INJECTED} | dict(self.inject)

    @property
    def naming(self) -> Naming:
        """Return how git tags name versions."""
        return Naming(prefix=self.tag_prefix, scheme=self.version_scheme)

    def described_builder(self) -> BuilderSettings | None:
        """Return what is configured about the builder that is to be used, where anything is."""
        return next((one for one in self.builders if one.name == self.builder), None)

    def buildx_builder(self) -> str:
        """Return what buildx calls the builder that is to be used; empty: its current one."""
        described = self.described_builder()
        return described.buildx_name if described else self.builder

    def tag_rules(self, registry: Registry | None = None) -> tuple[TagRule, ...]:
        """Return the tag rules that count, for one registry or for all that have none."""
        return (registry.tags if registry else ()) or self.tags or DEFAULT_RULES

    @property
    def local_ending(self) -> str:
        """Return what comes after the version in the tag of a local build: `-alpine`."""
        return version_ending(self.tags) if self.tags else ""

    @property
    def local_latest(self) -> str:
        """Return `latest` as the tag rules write it, which tells images of one name apart."""
        return latest_tag(self.tags) if self.tags else LATEST

    @property
    def local_image(self) -> str:
        """Return the image that was built last on this machine.

        It is empty where no local build has a tag that is the same for every version.
        """
        fixed = (tag for tag in self.local_tags if "{" not in tag)
        tag = next(fixed, "") if self.local_tags else self.local_latest
        return f"{self.image}:{tag}" if tag else ""

    @property
    def short_name(self) -> str:
        """Return the last element of the image's path: files and containers are named after it."""
        return parse_reference(self.image).repository.rpartition("/")[2]

    @property
    def owner(self) -> str:
        """Return what containers and images are marked with: two images may have one name."""
        return f"{self.image}:{self.local_latest}".removesuffix(f":{LATEST}")

    def base_settings(self) -> Bases:
        """Return how base images are checked, with the defaults where nothing is configured."""
        return self.bases or config_tables.BASES.parse({}, "bases")

    def image_policy(self) -> Policy:
        """Return the policy, with its defaults where none is configured."""
        return self.policy or config_tables.POLICY.parse({}, "policy")

    def allowed_names(self) -> tuple[str, ...]:
        """Return patterns of names that do not name a secret, whatever they sound like."""
        return self.image_policy().allow_names if self.policy else ()

    def scan_settings(self) -> ScanSettings:
        """Return what the vulnerability gate goes by, or its defaults."""
        return self.scan or config_tables.SCAN.parse({}, "scan")

    def diff_settings(self) -> DiffSettings:
        """Return which changes fail the gate `diff`, or its defaults."""
        return self.diff or config_tables.DIFF.parse({}, "diff")

    def publishing(self) -> Publish:
        """Return how it is published, with its defaults where nothing is configured."""
        return self.publish or config_tables.PUBLISH.parse({}, "publish")

    def goreleaser_settings(self) -> GoReleaser:
        """Return where GoReleaser's configuration is, and how its build differs."""
        return self.goreleaser or config_tables.GORELEASER.parse({}, "goreleaser")

    def record_settings(self) -> Records:
        """Return how records of builds are kept, with the defaults where nothing is configured."""
        return self.records or config_tables.RECORDS.parse({}, "records")

    def signing(self) -> Sign:
        """Return what signs."""
        return self.sign or config_tables.SIGN.parse({}, "sign")

    def verification(self) -> Verify:
        """Return what counts as signed."""
        return self.verify or config_tables.VERIFY.parse({}, "verify")


_KEYS: Final = key_types.keys_of(Config)
_TABLES: Final = {
    *("labels", "build-args", "base-images", "inject", "secrets"),
    *("bases", "build", "builders", "smoke", "run", "policy", "scan", "tags", "registries"),
    *("diff", "publish", "goreleaser", "sign", "verify", "images", "records"),
}

_VARIABLES: Final = {
    PREFIX + key.upper().replace("-", "_"): key for key in _KEYS if key not in _TABLES
}
# How alike a misspelt name has to be: others may have variables of this prefix.
_ALIKE: Final = 0.8


def known_keys() -> tuple[str, ...]:
    """Return every key that the file may hold, in the order of the documentation."""
    return tuple(_KEYS)


def _parsed(key: str, value: object, source: Source) -> object:
    """Return the value; raises all that is wrong with it at once."""
    type_ = _KEYS[key].type
    problems: list[BuildlibError] = []
    try:
        return type_.reader(key)(value)
    except (key_types.MismatchError, BuildlibError, ExceptionGroup) as error:
        for one in key_types.flat(error):
            if isinstance(one, key_types.MismatchError):
                problems.append(_mismatch(key, value, source, one))
            elif isinstance(one, BuildlibError):
                problems.append(one)
    raise ProblemsError(problems) if len(problems) > 1 else problems[0]


def _mismatch(
    key: str, value: object, source: Source, error: key_types.MismatchError
) -> InputError:
    # What is in a table or a list may be a cache's key.
    found = error.value if error.key else value
    shown = type(found).__name__ if isinstance(found, (dict, list)) else repr(found)
    where = error.key or key
    return key_types.KeyProblemError(
        f"{where} from {source} must be {error}, not {shown}",
        path=re.sub(r"\[[0-9]+\]", "", where).split("."),
    )


def _map_from_environment(env: Mapping[str, str]) -> dict[str, BaseImage]:
    if not (path := env.get(BASE_IMAGES)):
        return {}
    table = read_toml(Path(path))
    key_types.check_keys(table, {"base-images": None}, where=f"in {BASE_IMAGES}: ")
    source = Source(kind="environment", detail=BASE_IMAGES)
    return dict(_parsed("base-images", table.get("base-images", {}), source))  # type: ignore[call-overload, no-any-return]


def _variable_problems(env: Mapping[str, str]) -> Iterator[InputError]:
    """Yield what is nearly a variable of ours; what is like none of them is another's."""
    for name, value in env.items():
        if not (value and name.startswith(PREFIX)) or name in _VARIABLES or name in OTHERS:
            continue
        key = name.removeprefix(PREFIX).lower().replace("_", "-")
        if key in _TABLES:
            yield InputError(
                f"{name} can't be set: {key} is a table",
                hint=f"it is for {OWN_FILE}, or for [tool.buildlib.{key}] in pyproject.toml",
            )
            continue
        known = [one.removeprefix(PREFIX) for one in (*_VARIABLES, *sorted(OTHERS))]
        if close := nearest(name.removeprefix(PREFIX), known, _ALIKE):
            yield InputError(f"unknown variable {name}", hint=f"did you mean {PREFIX}{close}?")


def check_table(table: Mapping[str, object]) -> dict[str, BuildlibError]:
    """Return why keys of a table can't be read, by key: for one that is about to be written."""
    source = Source(kind="file", detail=OWN_FILE)
    found: dict[str, BuildlibError] = {}
    for key, value in table.items():
        try:
            key_types.check_keys({key: value}, _KEYS, where="")
            _parsed(key, value, source)
        except BuildlibError as error:
            found[key] = error
    for problem in () if "images" in found else image_tables.same_references(table):
        found["images"] = problem
    return found


_Layer = tuple[Source, str, object]
# What the command line says of every build.
_OF_ALL: Final = frozenset({"builder", "progress"})


class ConfigFile:
    """One file, from which the configuration of each image is made.

    Args:
        start, env, overrides: as `load_config` has them.
    """

    def __init__(
        self,
        start: Path,
        env: Mapping[str, str],
        overrides: Mapping[str, object] | None = None,
    ) -> None:
        """Find and read the file."""
        self._start, self._env, self._overrides = start, env, overrides or {}
        self.root, self._file, self._table = find_table(start.resolve())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the images of `[images]`, each after those that it is based on."""
        if "images" not in self._table:
            return ()
        source = Source(kind="file", detail=self._file.name if self._file else "")
        places = Places(self._file)
        problems: list[BuildlibError] = []
        try:
            names: Any = _parsed("images", self._table["images"], source)
        except BuildlibError as error:
            raise_problems(places.all_placed(error, "images"))
            raise
        for name in names:
            known = {key: None for key in _KEYS if key not in image_tables.SHARED}
            try:
                key_types.check_keys(self._table["images"][name], known, where=f"images.{name}.")
            except BuildlibError as error:
                problems += places.all_placed(error, "images")
        same = image_tables.same_references(self._table)
        problems += [places.placed(one, "images") for one in same]
        raise_problems(problems)
        return tuple(names)

    def some(self, only: Iterable[str]) -> tuple[str, ...]:
        """Return the images that are asked for, or all of `[images]`, in the order of `names`.

        Raises:
            InputError: there is no such image (exit 2).
        """
        asked = tuple(only)
        if asked and not self.names:
            raise InputError(f"there is no image {asked[0]!r}", why=_ONE_IMAGE)
        return image_tables.chosen_names(self.names, asked)

    def chosen(self, image: str) -> str:
        """Return the image that is meant; empty where the project has no `[images]`.

        Raises:
            InputError: there is no such image, or one of several has to be named (exit 2).
        """
        if not image and self.names:
            raise InputError(
                f"this project has several images: {', '.join(self.names)}",
                hint="choose one: --only NAME",
            )
        return self.some([image])[0] if image else ""

    def config(self, image: str, *, chosen: bool = True) -> Config:
        """Return the configuration of one image.

        Args:
            image: the name of its table; empty: there are none.
            chosen: the command line is about it; else another image is based on it.
        """
        places, env = Places(self._file, image), self._env
        problems = [*self._unknown(places), *_variable_problems(env)]
        found: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        known: set[str] = set()
        for source, key, value in self._layers(image, chosen=chosen):
            own = source.kind == "file"
            if own:
                known.add(key)
            try:
                # The order in which they are built has been made once, for all of them.
                parsed = self.names if key == "images" else _parsed(key, value, source)
            except BuildlibError as error:
                wrong = ProblemsError([error]).problems
                for one in wrong:
                    if own:
                        places.placed(one, key)
                    elif not one.why and str(source) not in one.what:
                        one.why = f"{key} from {source}"
                problems += wrong
                continue
            # One key that sets more than one field.
            found |= parsed if isinstance(parsed, dict) else {key.replace("-", "_"): parsed}
            sources[key] = source
        if {"smoke", "run"} & known <= found.keys():
            tables = (
                found.get("smoke", config_tables.NO_SMOKE),
                found.get("run", config_tables.NO_RUN),
            )
            problems += [places.placed(one, "") for one in config_tables.health_problems(*tables)]
        raise_problems(problems)
        if mapped := _map_from_environment(env):
            merged = {**dict(found.get("base_images", ())), **mapped}
            found["base_images"] = tuple(sorted(merged.items()))
            sources["base-images"] = Source(kind="environment", detail=BASE_IMAGES)
        if not found.get("image"):
            raise InputError(
                "no image is named",
                why="neither buildlib.toml nor [tool.buildlib] in pyproject.toml from "
                f"{self._start} upwards",
                hint='buildlib init writes one; or add: image = "name"',
            )
        file = self._file.name if self._file else ""
        return Config(root=self.root, file=file, name=image, sources=sources, **found)

    def _unknown(self, places: Places) -> list[BuildlibError]:
        problems: list[BuildlibError] = [
            KeyProblemError(
                f'base-images."{base}" can\'t be {image_tables.FROM_HERE}{name} here',
                path=("base-images", base),
                hint="set it in the table of each image that is based on it: "
                "[images.NAME.base-images]",
            )
            for base, name in image_tables.images_below(self._table)
        ]
        try:
            key_types.check_keys(self._table, _KEYS, where="")
        except BuildlibError as error:
            problems += ProblemsError([error]).problems
        return [places.placed(one, "") for one in problems]

    def _layers(self, image: str, *, chosen: bool) -> Iterator[_Layer]:
        """Yield each value that is given, the strongest last."""
        file = self._file.name if self._file else ""
        source = Source(kind="file", detail=file)
        own = image_tables.own_values(self._table, image) if image else {}
        for key, value in self._table.items():
            if key in _KEYS and key not in own:
                yield source, key, value
        source = Source(kind="file", detail=f"{file}, images.{image}")
        yield from ((source, key, value) for key, value in own.items())
        for variable, key in _VARIABLES.items():
            if text := self._env.get(variable):
                # It stands for the key of the file, of which each image has a part of its own.
                value = image_tables.below(text, image) if image and key == "image" else text
                yield Source(kind="environment", detail=variable), key, value
        for key, given in self._overrides.items():
            if given and (chosen or key in _OF_ALL):
                yield Source(kind="command line", detail=f"--{key}"), key, given


def load_config(
    start: Path,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    image: str = "",
) -> Config:
    """Load the configuration of the project that `start` lies in, or of one of its images.

    Args:
        start: the directory to look from, upwards.
        env: the environment; `BUILDLIB_IMAGE` overrides `image`, and so on for every key that
            is not a table. `BUILDLIB_BASE_IMAGES` is the path of a TOML file whose table
            `[base-images]` is laid over the configured one.
        overrides: what the command line says, by key; None and empty values do not count.
        image: the name of its table, `[images.NAME]`; empty: the project has no such tables.

    Raises:
        InputError: unknown key, wrong type, bad TOML, no image named anywhere, or not one of
            several.
    """
    file = ConfigFile(start, env, overrides)
    return file.config(file.chosen(image))


def load_images(
    start: Path,
    env: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
    *,
    only: Iterable[str] = (),
) -> tuple[Config, ...]:
    """Load the configuration of each image of a project, in the order in which they are built.

    Args:
        start: as for `load_config`, and so is the rest.
        env: of it.
        overrides: of it.
        only: names of `[images.NAME]`; none: all. A project without these tables has one image.

    Raises:
        InputError: as `load_config`; images are based on each other.
    """
    file = ConfigFile(start, env, overrides)
    return tuple(file.config(name) for name in file.some(only) or ("",))
