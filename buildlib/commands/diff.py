"""The work of `docker-diff`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from buildlib.commands.session import Edge
from buildlib.config.config import Config
from buildlib.config.tables import Registry
from buildlib.diff.check import NOT_SCANNED, DiffRequest, Subject, diff_images, scanning
from buildlib.diff.rules import broken_rules
from buildlib.errors import InputError, raise_problems
from buildlib.findings.report import show
from buildlib.image.archive import archive_file
from buildlib.image.documents import is_digest
from buildlib.image.layout import is_layout, open_layout
from buildlib.image.reference import LATEST, Reference, parse_reference
from buildlib.image.size import saved
from buildlib.publish.last_release import Release, find_release, last_release
from buildlib.records.store import open_store
from buildlib.registry.open import asking, chosen_registries, open_registries
from buildlib.registry.transfer import pulled


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffOptions:
    """The options of the task."""

    old: str = ""
    new: str = ""
    scan: bool = False
    check: bool = False
    markdown: bool = False
    as_json: bool = False


def diff(run: Edge, options: DiffOptions) -> None:
    """Report what changed between two images.

    Raises:
        GateError: with `check`, a change is one that the configuration refuses (exit 7), after
            everything was reported.
        BuildlibError: they could not be compared.
    """
    if options.markdown and options.as_json:
        raise InputError("--markdown contradicts --json", hint="give one of the two")
    config = run.config()
    request = DiffRequest(rules=options.check, allowed=config.allowed_names(), syft=run.executor)
    if options.scan:
        request.scan = scanning(config, run.executor, run.today())
    else:
        request.notes.append(NOT_SCANNED)
    with ExitStack() as stack:
        release = None if options.new else _published(run, config)
        own = release.name.rpartition(":")[2] if release else ""
        old = stack.enter_context(_old(run, config, options.old, own))
        if release:
            new = stack.enter_context(from_registry(run, release))
        else:
            new = stack.enter_context(_image(run, config, options.new or config.local_image))
        with run.console.running("comparing the images"):
            report = diff_images(old, new, request)
    if options.markdown:
        run.console.answer(report.as_markdown())
    else:
        show(report, run.console, as_json=options.as_json)
    if options.check:
        raise_problems(broken_rules(report, config.diff_settings()))


def _published(run: Edge, config: Config) -> Release | None:
    """Return the image that was published last; None: another was built since, or it is gone."""
    store = open_store(config, run.env)
    records = store.usable() if store else iter(())
    last = next((one for one in records if one.image == config.image and one.digest), None)
    if last is None or not last.registries:
        return None
    found = in_registry(run, config, last.digest)
    return found and found._replace(name=f"{found.repository.name}:{last.version}")


@contextmanager
def _old(run: Edge, config: Config, text: str, own: str) -> Iterator[Subject]:
    if text:
        with _image(run, config, text) as found:
            yield found
        return
    opened = open_registries(chosen_registries(config, ()), run.env, run.executor)
    with run.console.running(asking(opened)):
        release = last_release(opened, config, own)
    if release is None:
        raise InputError(
            "there is no release to compare with",
            why=f"{', '.join(one.repository.name for one in opened)}: no tag of a version",
            hint="docker-publish makes one; or give --old",
        )
    run.console.note(f"comparing with {release.name}")
    with from_registry(run, release) as found:
        yield found


@contextmanager
def _image(run: Edge, config: Config, text: str) -> Iterator[Subject]:
    """Open an image: a layout, an archive, one in a registry, or one of the engine."""
    layout = is_layout(Path(text))
    is_local = layout or archive_file(text) is not None or text == config.local_image
    version = "" if is_local or is_digest(text) else config.naming.version_of(text)
    if version and config.registries:
        found: Release | None = _release(run, config, version)
    else:
        found = None if is_local else in_registry(run, config, text)
    if found:
        with from_registry(run, found) as subject:
            yield subject
        return
    opening = open_layout(Path(text)) if layout else saved(run.executor, text)
    with run.console.opening(f"reading {text}", opening) as archive:
        yield Subject(name=text, archive=archive)


def _release(run: Edge, config: Config, version: str) -> Release:
    """Return the release of a version of this project."""
    opened = open_registries(config.registries, run.env, run.executor)
    with run.console.running(asking(opened)):
        release = find_release(opened, config, version)
    if release:
        return release
    raise InputError(
        f"there is no release {version}",
        why=f"no tag of it in {', '.join(one.repository.name for one in opened)}",
        hint=f"an image of the engine has a name: {config.image}:{version}",
    )


@contextmanager
def from_registry(run: Edge, found: Release) -> Iterator[Subject]:
    """Pull an image of a registry, for as long as it is compared."""
    image = pulled(found.repository, found.digest)
    with run.console.opening(f"pulling {found.name}", image) as archive:
        yield Subject(name=found.name, archive=archive)


def in_registry(run: Edge, config: Config, text: str) -> Release | None:
    """Return an image that a registry has, under the name that was given; None: none has it.

    A digest alone is looked for in the configured registries. A name without a registry is one of
    the engine.
    """
    if is_digest(text):
        registries, wanted = config.registries, text
    else:
        reference = parse_reference(text)
        if not reference.registry:
            return None
        registries = (_registry(config, reference),)
        wanted = reference.digest or reference.tag or LATEST
    opened = open_registries(registries, run.env, run.executor)
    with run.console.running(asking(opened)):
        for one in opened:
            if found := one.repository.manifest(wanted):
                return Release(text, found.digest, one.repository)
    return None


def _registry(config: Config, reference: Reference) -> Registry:
    """Return the registry of a reference, with the credentials of a configured one on its host."""
    found = Registry(name=reference.registry, repository=reference.name)
    for one in config.registries:
        if one.host == found.host:
            return replace(one, repository=reference.name)
    return found
