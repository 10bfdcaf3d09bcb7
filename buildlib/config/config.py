"""The configuration of one image, each value with its source; `config.load` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from buildlib.config import images as image_tables
from buildlib.config import tables as config_tables
from buildlib.config.file import OWN_FILE
from buildlib.config.key_types import (
    BUILD_ARGS,
    NAMES,
    PAIRS,
    TEXT,
    TEXTS,
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


class Source(NamedTuple):
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
    title: str = setting(TEXT, "OCI label title; left out: the image's name", default="")
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
