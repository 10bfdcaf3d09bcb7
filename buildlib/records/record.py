"""One build as data: what is kept of it, and how it is read again."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

from buildlib.dockerfile.definitions import InstructionText, Written
from buildlib.errors import InputError

SCHEMA: Final = 1
# As BuildKit names a step: [linux/arm64 build 2/5] COPY a b.
_NAME: Final = re.compile(r"\[(?:(\S+/\S+) )?(?:([^\s/]+) )?\s*(\d+)/(\d+)\] (.*)", re.DOTALL)
_IMAGE: Final = re.compile(
    r"docker-image://(\S+)|FROM (\S+)$|^\[context [^\]]*\] (\S+@sha256:\S+)$"
)
_LINES: Final = 50
_LONGEST: Final = 500
# Of the Dockerfile, in characters; here-documents count.
_DOCKERFILE: Final = 400_000


class StepName(NamedTuple):
    """The parts of a step's name; of anything but a step, all are empty."""

    platform: str = ""
    stage: str = ""
    position: int = 0
    total: int = 0
    instruction: str = ""


def parse_name(name: str) -> StepName:
    """Take the name of a step apart."""
    match = _NAME.fullmatch(name)
    if not match:
        return StepName()
    platform, stage, position, total, instruction = match.groups()
    # What is built on another platform is named linux/amd64->arm64.
    build, arrow, target = (platform or "").partition("->")
    if arrow:
        platform = f"{build.partition('/')[0]}/{target}"
    return StepName(platform or "", stage or "", int(position), int(total), instruction)


def image_of(name: str) -> tuple[str, str] | None:
    """Return the image that a vertex stands for, and its digest; None: it is not an image."""
    match = _IMAGE.search(name)
    if not match:
        return None
    image, _, digest = (match[1] or match[2] or match[3]).partition("@")
    return image, digest


def short_log(head: list[str], tail: list[str], total: int) -> tuple[str, ...]:
    """Return what is kept of a step's output: its head and its tail.

    Args:
        head: its first lines.
        tail: its last lines, which may be among the first ones.
        total: how many lines there were.
    """
    first = head[:_LINES]
    rest = total - len(first)
    last = tail[-min(rest, _LINES, len(tail)) :] if rest > 0 and tail else []
    left = rest - len(last)
    middle = [f"… {left} lines …"] if left > 0 else []
    return tuple(line[:_LONGEST] for line in (*first, *middle, *last))


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A vertex of BuildKit's: an instruction, or work of the builder's own.

    Args:
        digest: of its definition; `inputs` are those of the vertices before it.
        started, ended: times as BuildKit prints them; empty: it did not.
        cached: in BuildKit's own words.
        size: bytes that it transferred.
        log: the head and the tail of what it printed.
        cause: why it ran.
    """

    digest: str
    name: str
    inputs: tuple[str, ...] = ()
    started: str = ""
    ended: str = ""
    seconds: float | None = None
    cached: bool = False
    error: str = ""
    size: int = 0
    warnings: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    cause: str = ""

    @property
    def parts(self) -> StepName:
        """Return the parts of its name."""
        return parse_name(self.name)

    @property
    def label(self) -> str:
        """Return how it is named in short: `[build 2/5]`; what is not a step has its name."""
        if not self.parts.total:
            return self.name
        return re.sub(r"\s+", " ", self.name.partition("]")[0]) + "]"

    def as_dict(self) -> dict[str, Any]:
        """Return it with the parts of its name."""
        found = asdict(self)
        if self.parts.total:
            named = self.parts
            found |= {
                "platform": named.platform,
                "stage": named.stage,
                "position": named.position,
                "instruction": named.instruction,
            }
        return found


class File(NamedTuple):
    """A file of the build context, as a COPY takes it: without owner and times.

    Args:
        mode: type and permissions, octal, as `ls -l` would show them: `100644`.
        digest: SHA-256 of its content, or of what a link names.
    """

    mode: str
    size: int
    digest: str


class Layer(NamedTuple):
    """A layer of the image: its bytes, in an archive as stored, and what made it."""

    platform: str
    size: int
    made_by: str


class LargeFile(NamedTuple):
    """One of the largest files of the image."""

    platform: str
    path: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A build.

    Args:
        task: that built.
        result: `built`, `failed` or `interrupted`.
        platforms: as the build was asked for; `native` is the engine's own.
        builder, driver, node: empty: buildx's current builder, or not known.
        tools: versions of what built, BuildKit's among them.
        argv: the command.
        args: build args; the value of a secret is replaced.
        bases: images that the build took anything from, and their digests.
        syntax, escape, instructions: of the Dockerfile.
        files: of the context that steps take, by path; `unlisted` is how many there are beyond
            what is kept, and `rest` the digest of all of these.
        archive: path of the image, where it was written to a file.
        layers: of each platform's image, from the base upwards; empty: nothing ran, or unknown.
        largest: files of each platform's image, once they were measured.
        packages: versions by name, by platform, where an SBOM of the image is.
        gates, registries: of a publication, as its receipt has them.
        not_in_git: paths among them that git does not have, as far as it was asked.
    """

    id: str
    task: str = ""
    started: str = ""
    seconds: float = 0.0
    result: str = "built"
    error: str = ""
    image: str = ""
    version: str = ""
    target: str = ""
    platforms: tuple[str, ...] = ()
    native: str = ""
    output: str = ""
    references: tuple[str, ...] = ()
    digest: str = ""
    size: int | None = None
    builder: str = ""
    driver: str = ""
    node: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    bases: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] = field(default_factory=dict)
    dockerfile: str = ""
    syntax: str = ""
    escape: str = "\\"
    instructions: tuple[InstructionText, ...] = ()
    files: Mapping[str, File] = field(default_factory=dict)
    unlisted: int = 0
    rest: str = ""
    not_in_git: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    archive: str = ""
    layers: tuple[Layer, ...] = ()
    largest: tuple[LargeFile, ...] = ()
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    gates: tuple[Mapping[str, Any], ...] = ()
    registries: tuple[Mapping[str, Any], ...] = ()
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """Return what stands for the image, target, platforms and builder."""
        return key_of(self.image, self.target, self.platforms or (self.native,), self.builder)

    @property
    def written(self) -> Written:
        """Return the Dockerfile."""
        return Written(self.syntax, self.escape, self.instructions)

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found | {
            "tools": dict(self.tools),
            "args": dict(self.args),
            "bases": dict(self.bases),
            "git": dict(self.git),
            "instructions": [one._asdict() for one in self.instructions],
            "files": {path: list(one) for path, one in self.files.items()},
            "steps": [one.as_dict() for one in self.steps],
            "layers": [one._asdict() for one in self.layers],
            "largest": [one._asdict() for one in self.largest],
            "packages": {name: dict(one) for name, one in self.packages.items()},
        }

    def as_json(self) -> str:
        """Return one line of JSON, keys sorted."""
        return json.dumps(self.as_dict(), sort_keys=True, separators=(",", ":")) + "\n"


def key_of(image: str, target: str, platforms: tuple[str, ...], builder: str) -> str:
    """Return what stands for the image, target, platforms and builder, in eight digits."""
    text = "\0".join((image, target, ",".join(sorted(platforms)), builder))
    return f"{zlib.crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def bounded(instructions: tuple[InstructionText, ...]) -> tuple[InstructionText, ...]:
    """Return the instructions; of what is longer than a record may be, a fingerprint."""
    left, found = _DOCKERFILE, list[InstructionText]()
    for one in instructions:
        left -= len(one.text) + len(one.body)
        if left >= 0:
            found.append(one)
        else:
            digest = zlib.crc32(f"{one.text}\0{one.body}".encode("utf-8", "surrogateescape"))
            found.append(InstructionText(f"{one.text[:_LONGEST]} …", f"{digest:08x}"))
    return tuple(found)


# By the annotation of a field, what JSON has in its place.
_OF_JSON: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "tuple": (list,),
    "Mapping": (dict,),
}


class RecordError(InputError):
    """A record can't be read."""


def read_record(text: str, name: str) -> Record:
    """Read a record.

    Raises:
        RecordError: it is damaged, or of a newer version of buildlib (exit 2).
    """
    try:
        data = json.loads(text)
        schema = _number(data["schema"])
        if schema <= SCHEMA:
            return _record(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RecordError(
            f"the record {name} is damaged", why=str(error), hint="remove it, or build again"
        ) from error
    raise RecordError(
        f"the record {name} is of a newer version of buildlib",
        why=f"its schema is {schema}; this version reads {SCHEMA}",
        hint="update buildlib",
    )


def _record(data: dict[str, Any]) -> Record:
    record = Record(**_values(Record, data))
    if not all(isinstance(one.get("tags") or {}, dict) for one in record.registries):
        raise TypeError("the tags of a registry have another type")
    return replace(
        record,
        instructions=tuple(
            InstructionText(_text(one["text"]), _text(one["body"])) for one in data["instructions"]
        ),
        files={path: _file(path, *about) for path, about in data["files"].items()},
        steps=tuple(Step(**_values(Step, one)) for one in data["steps"]),
        layers=tuple(
            Layer(_text(one["platform"]), _number(one["size"]), _text(one["made_by"]))
            for one in data.get("layers", ())
        ),
        largest=tuple(
            LargeFile(_text(one["platform"]), _text(one["path"]), _number(one["size"]))
            for one in data.get("largest", ())
        ),
        packages={
            platform: {name: _text(version) for name, version in one.items()}
            for platform, one in record.packages.items()
        },
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text has another type")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a number has another type")
    return value


def _file(path: str, mode: Any, size: Any, digest: Any) -> File:  # noqa: ANN401 - JSON has no narrower type
    if (type(mode), type(size), type(digest)) != (str, int, str):
        raise TypeError(f"the file {path} has another type")
    return File(mode=mode, size=size, digest=digest)


def _values(kind: type[Record | Step], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the fields of a class; raises TypeError where one is something else."""
    found = dict[str, Any]()
    for one in fields(kind):
        if one.name not in data:
            continue
        value, types = data[one.name], str(one.type)
        if not (isinstance(value, _OF_JSON[types.partition("[")[0]]) and _all_fit(value, types)):
            raise TypeError(f"{one.name} has another type")
        found[one.name] = tuple(value) if isinstance(value, list) else value
    return found


def _all_fit(value: Any, types: str) -> bool:  # noqa: ANN401 - JSON has no narrower type
    kind, _, inner = types.partition("[")
    if kind == "Mapping":
        return inner != "str, str]" or all(isinstance(one, str) for one in value.values())
    wanted = {"str": str, "Mapping": dict}.get(inner.partition(",")[0].partition("[")[0], object)
    return kind != "tuple" or all(isinstance(one, wanted) for one in value)
