"""Why steps ran: two records compared. Nothing is read, and nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

from buildlib.dockerfile.definitions import Definition, InstructionText, Stage, Variable, stages_of
from buildlib.dockerfile.lines import mount_value, split_options
from buildlib.dockerfile.parser import platform_args
from buildlib.errors import InputError
from buildlib.files import counted
from buildlib.image.platform import parse_platform
from buildlib.records.files import matcher
from buildlib.records.record import File, Record, Step, image_of
from buildlib.records.redaction import is_hidden

_NAMED: Final = re.compile(r"\$\{?(\w+)")
# What an address has, or another directory than the build context.
_REMOTE: Final = re.compile(r"(?:^|\] ADD .*)(?:https?|git)://|^\[context .*\] load from client")
# Of COPY, or of a mount.
_FROM: Final = re.compile(r"[-,=]from=([^\s,]+)")
_ANYWAY: Final = "; would have run anyway: "
# How many files are named.
_NAMES: Final = 3
LOST: Final = "inputs are the same: the builder no longer had the cache"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Why a step ran.

    Args:
        kind: a word for programs, such as `file-changed`.
        text: for people.
        step: the label of the step where it began; it may be the step itself.
        digest: of that step.
        paths: files that it is about.
    """

    kind: str
    text: str
    step: str = ""
    digest: str = ""
    paths: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return every field but BuildKit's digest."""
        found = {"kind": self.kind, "text": self.text, "step": self.step}
        return found | ({"paths": list(self.paths)} if self.paths else {})


# The kind of a cause, its text, and the files that it is about.
Found = tuple[str, str, tuple[str, ...]]


class _Aligned(NamedTuple):
    """A step and its counterpart in the other record; `removed` are those between."""

    now: Definition
    before: Definition | None
    removed: tuple[Definition, ...] = ()


def short_text(text: str, longest: int = 80) -> str:
    """Return a text on one line, and no longer than that."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def platform_variables(platform: str, native: str) -> dict[str, str]:
    """Return BuildKit's own variables of a platform."""
    try:
        target = parse_platform(platform or native)
        return platform_args(target, parse_platform(native or platform))
    except InputError:
        return {}


def _options_of(argv: Sequence[str], option: str) -> list[str]:
    """Return the values of an option of buildx, of both forms."""
    after = [argv[n + 1] for n, word in enumerate(argv[:-1]) if word == option]
    return after + [w.partition("=")[2] for w in argv if w.startswith(f"{option}=")]


class Comparison:
    """A record beside the one before it.

    Args:
        now: the later one; its steps may still grow.
        before: the earlier one.
    """

    def __init__(self, now: Record, before: Record) -> None:
        """Compare nothing yet."""
        self._now, self._before = now, before
        self._steps: dict[str, Step] = {}
        self._causes: dict[str, Cause | None] = {}
        self._stages: dict[str, tuple[Mapping[str, Stage], Mapping[str, Stage]]] = {}
        self._earlier = {
            (one.parts.platform, one.parts.stage, one.parts.position): one
            for one in before.steps
            if one.parts.total
        }
        given = _options_of(now.argv, "--build-context")
        self._contexts = {one.partition("=")[0] for one in given}
        for step in now.steps:
            self.take(step)

    def take(self, step: Step) -> None:
        """Take a step that ended, or may still run."""
        self._steps[step.digest] = step

    def cause(self, digest: str) -> Cause | None:
        """Return why a step ran; None: it was cached, or is not an instruction."""
        if digest not in self._causes:
            # A step that is its own input would be the builder's fault.
            self._causes[digest] = None
            self._causes[digest] = self._cause(digest)
        return self._causes[digest]

    def _cause(self, digest: str) -> Cause | None:
        step = self._steps.get(digest)
        if step is None or step.cached:
            # What was cached is what it was, whatever ran before it.
            return None
        causes = [found for one in step.inputs if (found := self.cause(one))]
        causes.sort(key=lambda one: _ANYWAY not in one.text)
        follows = next((one for one in causes if one.kind != "lost"), None)
        if follows and follows.kind == "no-cache" and step.parts.total and step.ended:
            return self._anyway(follows, step, (step,))
        if follows or not step.parts.total or not step.ended:
            return follows or next(iter(causes), None)
        own = self._own(step)
        if own is None and not step.parts.instruction.startswith("FROM "):
            return next(iter(causes), None) or _made(step, self._remaining(step))
        return own

    def _own(self, step: Step) -> Cause | None:
        """Return the cause that a step has by itself, or by a step that the builder had cached."""
        # A base that was looked up, or pulled again, is no work of its own.
        looked_up = step.parts.instruction.startswith("FROM ")
        if not looked_up and (found := self._outside(step)):
            made = _made(step, (*found, ()))
            steps = (step, *self._above(step))
            return self._anyway(made, step, steps) if made.kind == "no-cache" else made
        for one in (step, *self._above(step)):
            if found_here := self._local(one):
                return _made(one, found_here)
        return None

    def _anyway(self, cause: Cause, step: Step, steps: Iterable[Step]) -> Cause:
        """Return the cause of a step that had to run, with what else would have made it run.

        Args:
            cause: that the cache was not to be used.
            step: that ran.
            steps: which may differ from those of the build before.
        """
        found = (local for one in steps if (local := self._local(one)))
        if _ANYWAY in cause.text or not (differs := next(found, None)):
            return cause
        _, text, paths = differs
        return _made(step, (cause.kind, f"{cause.text}{_ANYWAY}{text}", paths))

    def _above(self, step: Step) -> list[Step]:
        """Return the steps before a step, the first one first."""
        found: dict[str, Step] = {}

        def visit(digest: str) -> None:
            one = self._steps.get(digest)
            if one is None or digest in found:
                return
            for before in one.inputs:
                visit(before)
            found[digest] = one

        for digest in step.inputs:
            visit(digest)
        return [one for one in found.values() if one.parts.total]

    def _local(self, step: Step) -> Found | None:
        """Return what differs about a step: its definition, its image, or its files."""
        aligned = _align(*self._read(step.parts.platform), step, self._contexts)
        if aligned is None:
            return next(self._bases(step), None)
        return next(self._differences(aligned, step), None) or self._files(aligned)

    def _outside(self, step: Step) -> tuple[str, str] | None:
        """Return a cause that is not in the Dockerfile or the files."""
        now, before = self._now, self._before
        if "--no-cache" in now.argv:
            return "no-cache", "--no-cache"
        for value in _options_of(now.argv, "--no-cache-filter"):
            if step.parts.stage.lower() in value.lower().split(","):
                return "no-cache", f"--no-cache-filter {value}"
        if now.syntax != before.syntax:
            return (
                "syntax",
                f"# syntax= changed: {before.syntax or 'none'} → {now.syntax or 'none'}",
            )
        return None

    def _elsewhere(self, step: Step) -> Found | None:
        """Return that there was no build with this builder, or for this platform."""
        now, before = self._now, self._before
        if now.builder != before.builder:
            names = [one or "the current builder" for one in (before.builder, now.builder)]
            return "builder", f"other builder: {names[0]} → {names[1]}", ()
        theirs = {*before.platforms} or {before.native}
        mine = {*now.platforms} or {now.native}
        if platform := step.parts.platform:
            mine, theirs = {platform}, {*theirs, before.native}
        if not mine & theirs:
            names = [", ".join(sorted(one)) for one in (theirs, mine)]
            return "platform", f"other platform: {names[0]} → {names[1]}", ()
        return None

    def _read(self, platform: str) -> tuple[Mapping[str, Stage], Mapping[str, Stage]]:
        """Return the stages of both Dockerfiles by name, as a platform sees them."""
        if platform not in self._stages:
            read = [
                stages_of(
                    one.written,
                    one.args,
                    platform_variables(platform or ",".join(one.platforms), one.native),
                )
                for one in (self._now, self._before)
            ]
            now, before = ({stage.name: stage for stage in stages} for stages in read)
            self._stages[platform] = (now, before)
        return self._stages[platform]

    def _differences(self, aligned: _Aligned, step: Step) -> Iterator[Found]:
        now, before = aligned.now, aligned.before
        if before is None:
            yield "instruction-added", f"instruction added: {short_text(now.instruction.text)}", ()
            return
        if now.instruction != before.instruction:
            yield _edited(before.instruction, now.instruction)
        if now.expanded != before.expanded:
            yield self._expanded(now, before)
        yield from _states(now, before)
        yield from self._given(now)
        yield from self._bases(step)
        for one in aligned.removed:
            text = f"instruction removed: {short_text(one.instruction.text)}"
            yield "instruction-removed", text, ()

    def _expanded(self, now: Definition, before: Definition) -> Found:
        """Return the variable by which the same words became others."""
        new, old = (
            {**record.args, **{one.name: one.value for one in definition.scope}}
            for record, definition in ((self._now, now), (self._before, before))
        )
        for name in _NAMED.findall(now.instruction.text):
            if old.get(name) != new.get(name):
                return _changed("argument", name, old.get(name), new.get(name))
        return "instruction-edited", f"its words became: {short_text(now.expanded)}", ()

    def _given(self, now: Definition) -> Iterator[Found]:
        """Yield an image that stands for a name, and is another one now."""
        for name in sorted(self._contexts):
            old, new = self._before.bases.get(name, ""), self._now.bases.get(name, "")
            used = name in {now.base, *_FROM.findall(now.expanded)}
            if used and old and new and old != new:
                yield "base", f"base {name} moved: {_digest(old)} → {_digest(new)}", ()

    def _bases(self, step: Step) -> Iterator[Found]:
        """Yield an image that a step stands on or takes from, which is another one now."""
        earlier = self._counterpart(step)
        if earlier is None:
            return
        found = [
            dict(_images(step, self._steps)),
            dict(_images(earlier, {one.digest: one for one in self._before.steps})),
        ]
        for name, (digest, vertex) in found[0].items():
            old, old_vertex = found[1].get(name, ("", vertex))
            if digest != old and digest and old:
                yield "base", f"base {name} moved: {_digest(old)} → {_digest(digest)}", ()
            elif vertex != old_vertex and not digest:
                yield "base", f"base {name} is another image", ()

    def _counterpart(self, step: Step) -> Step | None:
        parts = step.parts
        for platform in (parts.platform, "", *self._before.platforms):
            if found := self._earlier.get((platform, parts.stage, parts.position)):
                return found
        return None

    def _files(self, aligned: _Aligned) -> Found | None:
        """Return what became of the files that a step takes from the context."""
        if not aligned.now.sources:
            return None
        takes = matcher(aligned.now.sources)
        old = {path: one for path, one in self._before.files.items() if takes(path)}
        new = {path: one for path, one in self._now.files.items() if takes(path)}
        return compare_files(old, new) or self._unlisted()

    def _unlisted(self) -> Found | None:
        now, before = self._now, self._before
        if now.rest == before.rest:
            return None
        number = max(now.unlisted, before.unlisted)
        return "file-changed", f"one or more of {number} files that are not listed changed", ()

    def _remaining(self, step: Step) -> Found:
        """Return what is left where nothing that is on record differs."""
        for one in step.inputs:
            vertex = self._steps.get(one)
            if vertex and _REMOTE.search(vertex.name):
                return "remote", f"the content of {short_text(vertex.name)} is not on record", ()
        if found := self._elsewhere(step):
            return found
        earlier, result = self._counterpart(step), self._before.result
        if result != "built" and (earlier is None or earlier.error or not earlier.ended):
            was = "failed" if result == "failed" else "was interrupted"
            return "unfinished", f"the previous build {was} before this step was done", ()
        return "lost", LOST, ()


def _made(step: Step, found: Found) -> Cause:
    kind, text, paths = found
    return Cause(kind=kind, text=text, step=step.label, digest=step.digest, paths=paths)


def _digest(text: str) -> str:
    return text.removeprefix("sha256:")[:12]


def _find(stages: Mapping[str, Stage], step: Step, contexts: Container[str]) -> tuple[str, int]:
    """Return the stage of a step, and its index there; -1: it is not in the Dockerfile."""
    parts = step.parts
    name = next(iter(stages), "") if len(stages) == 1 else parts.stage
    steps = stages[name].steps if name in stages else ()
    if parts.total != len(steps):
        # What ONBUILD adds is in no Dockerfile.
        return name, -1
    # BuildKit counts a base that another context stands for, and numbers the others from 1.
    first = steps[0] if steps else None
    shifted = bool(first and first.instruction.name == "FROM" and first.base in contexts)
    for place in (parts.position - 1 + shifted, parts.position - 1):
        kind = parts.instruction.partition(" ")[0]
        if place < len(steps) and steps[place].instruction.name == kind:
            return name, place
    return name, -1


def _align(
    now: Mapping[str, Stage],
    before: Mapping[str, Stage],
    step: Step,
    contexts: Container[str],
) -> _Aligned | None:
    """Return the definition of a step, and its counterpart."""
    name, here = _find(now, step, contexts)
    if here < 0:
        return None
    stage = now[name]
    other = before.get(name)
    if other is None:
        # A stage that is named otherwise, or new: its place among the stages counts.
        place = [*now].index(name)
        stages = [*before.values()]
        other = stages[place] if place < len(stages) and len(stages) == len(now) else None
    if other is None:
        return _Aligned(stage.steps[here], None)
    was, now_is = ([one.instruction for one in side.steps] for side in (other, stage))
    removed: list[Definition] = []
    for tag, old, old_end, new, new_end in SequenceMatcher(
        None, was, now_is, autojunk=False
    ).get_opcodes():
        place = old + here - new
        if new <= here < new_end:
            known = tag == "equal" or (tag == "replace" and place < old_end)
            return _Aligned(
                stage.steps[here], other.steps[place] if known else None, tuple(removed)
            )
        removed += other.steps[old + new_end - new : old_end] if tag != "equal" else ()
    return None


def _edited(before: InstructionText, now: InstructionText) -> Found:
    """Return how an instruction was edited; a mount that was added is named as such."""
    old, new = (split_options(one.rest) for one in (before, now))
    same = before.name == now.name and old[1] == new[1] and before.body == now.body
    added = [one for one in new[0] if one not in old[0]]
    if same and added and all(one.startswith("--mount=") for one in added):
        mount = added[0].removeprefix("--mount=")
        secret = mount_value(mount, "type") == "secret"
        name = mount_value(mount, "id") or mount_value(mount, "target")
        if secret:
            return "secret-added", f"secret added: {name}", ()
        return "mount-added", f"mount added: {short_text(mount)}", ()
    if before.text == now.text:
        return "instruction-edited", f"here-document edited: {short_text(now.text)}", ()
    text = f"instruction edited: {short_text(before.text)} → {short_text(now.text)}"
    return "instruction-edited", text, ()


def _changed(what: str, name: str, old: str | None, new: str | None) -> Found:
    """Return what became of a variable; the value of a secret is not on record."""
    hidden = any(value is not None and is_hidden(value) for value in (old, new))
    if old is None:
        return f"{what}-added", f"{what} {name} added" + ("" if hidden else f": {_value(new)}"), ()
    if new is None:
        return f"{what}-removed", f"{what} {name} removed", ()
    values = "" if hidden else f": {_value(old)} → {_value(new)}"
    return f"{what}-changed", f"{what} {name} changed{values}", ()


def _value(text: str | None) -> str:
    return short_text(text or "") or "empty"


def _states(now: Definition, before: Definition) -> Iterator[Found]:
    """Yield what the instructions before a step have set otherwise, as far as it matters to it."""
    name = now.instruction.name
    if name == "RUN" and now.scope != before.scope:
        yield _variables(before.scope, now.scope)
    relative = not now.expanded.rpartition(" ")[2].startswith("/")
    for what, old, new, matters in (
        ("USER", before.user, now.user, name in {"RUN", "WORKDIR"}),
        ("WORKDIR", before.folder, now.folder, name == "RUN" or relative),
        ("SHELL", before.shell, now.shell, name == "RUN"),
    ):
        if matters and old != new:
            yield "instruction-edited", f"{what} changed: {_value(old)} → {_value(new)}", ()


def _variables(old: Sequence[Variable], new: Sequence[Variable]) -> Found:
    """Return the first variable of a RUN that differs."""
    earlier, later = ({one.name: one for one in side} for side in (old, new))
    kinds = {"ARG": "argument", "ENV": "variable"}
    for one in new:
        was = earlier.get(one.name)
        if was is None or was.value != one.value:
            return _changed(kinds[one.origin], one.name, was and was.value, one.value)
    for one in old:
        if one.name not in later:
            return _changed(kinds[one.origin], one.name, one.value, None)
    for one, was in zip(new, old, strict=True):
        if one.name != was.name:
            return "order-changed", f"order of variables changed: {one.name} comes earlier", ()
    return "instruction-edited", f"{new[0].name} and others are set by other instructions", ()


def _images(step: Step, steps: Mapping[str, Step]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the images that a step uses by name, with their digests and vertices."""
    vertices = [step, *(steps[one] for one in step.inputs if one in steps)]
    for vertex in vertices:
        if found := image_of(vertex.name):
            yield found[0], (found[1], vertex.digest)


def compare_files(old: Mapping[str, File], new: Mapping[str, File]) -> Found | None:
    """Return the kind of the first difference between files, its text, and their paths."""
    changed, modes = list[str](), list[str]()
    for path, one in new.items():
        was = old.get(path)
        if was and (was.digest, was.size, was.mode[:-4]) != (one.digest, one.size, one.mode[:-4]):
            changed.append(path)
        elif was and was.mode != one.mode:
            modes.append(path)
    added = [path for path in new if path not in old]
    removed = [path for path in old if path not in new]
    if len(added) == len(removed) == 1 and old[removed[0]] == new[added[0]] and not changed:
        paths = (removed[0], added[0])
        return "file-renamed", f"file renamed: {paths[0]} → {paths[1]}", paths
    for kind, paths_of in (("changed", changed), ("added", added), ("removed", removed)):
        if paths_of:
            return f"file-{kind}", _listed(kind, paths_of), tuple(paths_of)
    if modes:
        path = modes[0]
        text = f"mode of {path} changed: {old[path].mode[-4:]} → {new[path].mode[-4:]}"
        more = f", and of {len(modes) - 1} more" if len(modes) > 1 else ""
        return "file-mode", text + more, tuple(modes)
    return None


def _listed(kind: str, paths: Sequence[str]) -> str:
    names = ", ".join(paths[:_NAMES])
    if len(paths) == 1:
        return f"file {kind}: {names}"
    more = f" and {len(paths) - _NAMES} more" if len(paths) > _NAMES else ""
    return f"{counted(len(paths), 'file')} {kind}: {names}{more}"


def explain(now: Record, before: Record | None) -> dict[str, Cause]:
    """Return why each step of a build ran, by its digest; the first cause, not what follows.

    Args:
        now: the build.
        before: the one that it is compared with; None: there is none.
    """
    if before is None:
        return {}
    comparison = Comparison(now, before)
    found: Iterable[tuple[str, Cause | None]] = (
        (one.digest, comparison.cause(one.digest))
        for one in now.steps
        if one.parts.total and not one.cached and one.ended
    )
    return {digest: cause for digest, cause in found if cause}
