"""The values that a shell completes.

No engine, no registry and no git is asked: each press of a key waits for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from buildlib.config.config import Config

# Of the newest versions, so many are offered.
_MOST: Final = 20


class Values:
    """What each option and argument can be."""

    def __init__(self, start: Path, env: Mapping[str, str]) -> None:
        self._start, self._env = start, env

    def of(self, task: str, option: str) -> tuple[str, ...]:
        """Return the values of an option of a task; empty: it can be anything, such as a file."""
        known = FINDERS.get(f"{task} {option}", FINDERS.get(option, ()))
        if isinstance(known, str):
            module, _, name = known.partition(":")
            found: Iterable[str] = getattr(import_module(f"buildlib.{module}"), name)
        else:
            found = known(self) if callable(known) else known
        return tuple(dict.fromkeys(map(str, found)))

    @cached_property
    def _configs(self) -> tuple[Config, ...]:
        from buildlib.config.load import load_images

        return load_images(self._start, self._env)

    def builders(self) -> Iterable[str]:
        """Return the names of the configured builders, and of those that buildx knows."""
        from buildlib.docker.client_config import buildx_folder

        instances = buildx_folder(self._env) / "instances"
        made = sorted(path.name for path in instances.iterdir()) if instances.is_dir() else []
        return (*self.configured_builders(), *made)

    def configured_builders(self) -> Iterable[str]:
        """Return the names of the configured builders."""
        return [builder.name for config in self._configs for builder in config.builders]

    def gates(self) -> Iterable[str]:
        """Return the gates of a release."""
        from buildlib.config.publish import GATES, SIGN

        return (*GATES, SIGN)

    def images(self) -> Iterable[str]:
        """Return the image that was built last, the archives below, and the image's versions."""
        here = Path.cwd()
        for config in self._configs:
            if config.local_image:
                yield config.local_image
            for path in sorted((config.root / config.folder("dist")).glob("*.tar")):
                yield str(path.relative_to(here) if path.is_relative_to(here) else path)
            yield from (f"{config.image}:{version}" for version in _versions(config))

    def image_names(self) -> Iterable[str]:
        """Return the names of several images."""
        return [config.name for config in self._configs if config.name]

    def platforms(self) -> Iterable[str]:
        """Return the configured platforms, or the usual ones."""
        from buildlib.image.platform import KNOWN

        usual = [one for one in KNOWN if one.startswith("linux/")]
        return map(str, [one for config in self._configs for one in config.platforms] or usual)

    def platforms_and_all(self) -> Iterable[str]:
        """Return them, and the word that means all of them."""
        return (*self.platforms(), "all")

    def progress(self) -> Iterable[str]:
        """Return how a build can show its progress."""
        from buildlib.config.key_types import written
        from buildlib.config.tables import PROGRESS

        return [str(one) for one in written(PROGRESS)["enum"]]

    def references(self) -> Iterable[str]:
        """Return what the registries may have."""
        for config in self._configs:
            tags = ("latest", *_versions(config))
            for registry in config.registries:
                yield from (f"{registry.repository}:{tag}" for tag in tags)

    def records(self) -> Iterable[str]:
        """Return the identifiers of the records of builds."""
        from buildlib.records.store import open_store

        stores = (open_store(config, self._env) for config in self._configs)
        paths = (path for store in stores if store for path in store.paths())
        return [path.stem.rpartition("-")[0] for path in paths]

    def registries(self) -> Iterable[str]:
        """Return the names of the configured registries."""
        return [registry.name for config in self._configs for registry in config.registries]

    def stages(self) -> Iterable[str]:
        """Return the names of the Dockerfile's stages."""
        from buildlib.dockerfile.parser import parse_dockerfile

        files = dict.fromkeys(config.root / config.dockerfile for config in self._configs)
        texts = [file.read_text("utf-8", "replace") for file in files]
        stages = [stage for text in texts for stage in parse_dockerfile(text).stages]
        return [stage.name for stage in stages if stage.name]

    def steps(self) -> Iterable[str]:
        """Return the numbers of the steps of the last build on record."""
        from buildlib.records.record import RecordError
        from buildlib.records.store import open_store

        for config in self._configs:
            store = open_store(config, self._env)
            for path in store.paths()[:1] if store else ():
                with suppress(RecordError):
                    names = [step.parts for step in store.read(path).steps] if store else []
                    yield from (f"{one.position}/{one.total}" for one in names if one.total)

    def tags(self) -> Iterable[str]:
        """Return the image tags that a release may have."""
        return ("latest", *self.versions())

    def versions(self) -> Iterable[str]:
        """Return the versions that git tags name, the newest first."""
        return [version for config in self._configs for version in _versions(config)]


def _versions(config: Config) -> Iterable[str]:
    from buildlib.git.tag_names import tag_names

    naming, left = config.naming, set(tag_names(config.root))
    for _ in range(_MOST):
        if not (tag := naming.highest(left)):
            return
        left.remove(tag)
        yield naming.version_of(tag)


_INCREMENTS: Final = "versioning.next_tag:Increment"
# By option, or by task and option where another task has an option of that name for something else:
# the values, what finds them, or the module that has them, with their name there.
FINDERS: Final[Mapping[str, Callable[[Values], Iterable[str]] | tuple[str, ...] | str]] = {
    "builder": Values.builders,
    "call": ("check", "outline", "targets"),
    "completion shell": "commands.completion:SCRIPTS",
    "docker-builder action": "config.builders:ACTIONS",
    "docker-builder name": Values.configured_builders,
    "docker-diff new": Values.images,
    "docker-diff old": Values.images,
    "docker-promote tag": Values.tags,
    "docker-rehearse tag": _INCREMENTS,
    "docker-report compare": Values.records,
    "docker-report id": Values.records,
    # A file; of a build it is something else.
    "docker-report output": (),
    "docker-rollback version": Values.versions,
    "docker-run platform": Values.platforms,
    "docker-shell command": ("sh", "bash", "ash"),
    "docker-verify reference": Values.references,
    "docker-why step": Values.steps,
    "doctor for": "doctor.report:GROUPS",
    "image": Values.images,
    "init template": "adopt.template:LANGUAGES",
    "network": ("default", "none", "host"),
    "next": _INCREMENTS,
    "no-cache-filter": Values.stages,
    "only": Values.image_names,
    "output": "build.plan:Output",
    "platform": Values.platforms_and_all,
    "progress": Values.progress,
    "pull-policy": "containers.plan:POLICIES",
    "registry": Values.registries,
    "severity": "findings.vulnerability:THRESHOLDS",
    "skip-gate": Values.gates,
    "tag name": _INCREMENTS,
    "target": Values.stages,
}
