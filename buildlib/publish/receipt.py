"""The receipt of a publication: written after every step, to resume it and to look it up."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import (
    Any,
    Final,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from buildlib.build.argv import buildx_argv
from buildlib.build.plan import BuildPlan
from buildlib.config.config import Config
from buildlib.errors import InputError
from buildlib.files import counted, write_file
from buildlib.image.platform import parse_platform
from buildlib.image.reference import legal_part
from buildlib.image.sbom import subject_of
from buildlib.program import PROGRAM
from buildlib.publish.plan import UNSIGNED, PublishPlan, Skip
from buildlib.terminal.text import redact, to_json

_T = TypeVar("_T")
SCHEMA: Final = 1
NAME: Final = "receipt.json"
# What became of a gate.
PASSED: Final = "passed"
FAILED: Final = "failed"
LEFT_OUT: Final = "left out"
# The figure of a gate that counts its warnings.
WARNINGS: Final = "warnings"
# The SBOMs: cosign's name of the type, and the end of the file's name.
SBOM_FILES: Final = {"spdxjson": "spdx.json", "cyclonedx": "cdx.json"}
# BuildKit's provenance: the URI of the type, and cosign's name of it.
PROVENANCE: Final = {
    "https://slsa.dev/provenance/v0.2": "slsaprovenance02",
    "https://slsa.dev/provenance/v1": "slsaprovenance1",
}


@dataclass(kw_only=True)
class GateRecord:
    """A gate's outcome: `passed`, `failed` or `left out`; `figures` are its own numbers."""

    gate: str
    state: str
    seconds: float = 0.0
    detail: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """Return its state, and how many warnings there were."""
        warnings = self.figures.get(WARNINGS)
        return f"{self.state}, {counted(warnings, 'warning')}" if warnings else self.state


@dataclass(kw_only=True)
class TargetRecord:
    """The outcome in one registry.

    Args:
        repository: with the registry's host.
        digest: that it holds; empty: not pushed yet.
        sent, there, size: blobs that were sent, that were there already, and bytes that were sent.
        signed_by: key or identity by which it was verified there; empty: not verified.
        tags: by name, the digest of each now and `before`.
        wanted: the tags that it is to have.
        under_way: each tag whose last request may not be carried out yet, with its new digest.
        claim: identifier of the claim under which the tags are given; empty: none now.
        earlier_claims: those of earlier runs that failed, and may still be there.
        error: why it failed; empty: it did not.
    """

    repository: str
    required: bool = True
    digest: str = ""
    sent: int = 0
    there: int = 0
    size: int = 0
    signed_by: str = ""
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    held_back: dict[str, str] = field(default_factory=dict)
    under_way: dict[str, str] = field(default_factory=dict)
    claim: str = ""
    earlier_claims: list[str] = field(default_factory=list)
    retries: int = 0
    error: str = ""

    @property
    def given(self) -> tuple[str, ...]:
        """Return the tags that it has, in the order of the plan; a kept receipt has its own."""
        return tuple(tag for tag in dict.fromkeys((*self.wanted, *self.tags)) if tag in self.tags)


@dataclass(kw_only=True)
class Receipt:
    """One publication as far as it has come.

    Args:
        uncommitted: one hash of all files that were not committed; empty: there were none.
        included: files that are not in the commit, each with its digest.
        archive: its path, relative to the project if it is in it.
        digest: of the published index; empty: not built yet.
        built: digest of the index as built; it differs if attestations are in the index.
        platforms: the digest of each platform's manifest.
        built_by: hash of how it was built; see `built_by`.
        judged: hash of what the gates checked; see `fingerprint`.
        provenance: BuildKit's, each with platform, digest, file and type.
        finished: all tags are given.
        tools: the versions of the programs that took part.
    """

    image: str
    version: str
    revision: str
    mode: str
    archive: str
    uncommitted: str = ""
    included: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    built: str = ""
    built_by: str = ""
    platforms: dict[str, str] = field(default_factory=dict)
    judged: str = ""
    gates: list[GateRecord] = field(default_factory=list)
    provenance: list[dict[str, str]] = field(default_factory=list)
    targets: dict[str, TargetRecord] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    rehearsal: bool = False
    started: str = ""
    ended: str = ""
    finished: bool = False

    @property
    def sboms(self) -> list[dict[str, Any]]:
        """Return the SBOMs that the gate recorded, each with platform, digest and files."""
        return [sbom for gate in self.gates for sbom in gate.figures.get("sboms", ())]

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON, without credentials in what others answered."""
        found = asdict(self)
        for gate in found["gates"]:
            gate["detail"] = redact(gate["detail"])
        for target in found["targets"].values():
            target["error"] = redact(target["error"])
        return {"schema": SCHEMA, **found}


def inside(path: Path, root: Path) -> str:
    """Return a path relative to the project if it is in it; a receipt hides the machine's."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def new_receipt(config: Config, plan: PublishPlan, *, started: str) -> Receipt:
    """Return the receipt of a publication that begins."""
    return Receipt(
        image=config.image,
        version=plan.version,
        revision=plan.revision,
        mode=str(plan.mode),
        archive=inside(plan.archive, config.root),
        uncommitted=plan.uncommitted,
        included=dict(plan.included),
        started=started,
        rehearsal=plan.rehearsal,
    )


def find_sboms(folder: Path, name: str, platforms: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the SBOMs in a directory, as the gate would record them.

    Args:
        folder: that `docker-sbom` writes to.
        platforms: each with its manifest's digest.

    Raises:
        InputError: one of them is about another image (exit 2).
    """
    found = []
    for platform, digest in platforms.items():
        slug = parse_platform(platform).slug
        files = [folder / f"{name}-{slug}.{end}" for end in SBOM_FILES.values()]
        there = [str(file) for file in files if file.is_file()]
        for file in there:
            check_sbom(Path(file), digest)
        found.append({"platform": platform, "digest": digest, "packages": 0, "files": there})
    return [sbom for sbom in found if sbom["files"]]


def check_sbom(file: Path, digest: str) -> None:
    """Raise InputError (exit 2) if an SBOM is about another image."""
    said = subject_of(file)
    if said != digest:
        raise InputError(
            f"{file.name} is about another image",
            why=f"{said or 'it does not name its image'}, and this is {digest}",
            hint=f"{PROGRAM} docker-sbom --image ARCHIVE writes it again",
        )


def sboms_are_there(receipt: Receipt, root: Path) -> bool:
    """Return whether the SBOMs of a receipt still exist, and are about its images."""
    return bool(receipt.sboms) and all(
        subject_of(root / file) == sbom["digest"]
        for sbom in receipt.sboms
        for file in sbom["files"]
    )


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write a receipt atomically; raises InputError (exit 2) if it can't be written."""
    try:
        write_file(path, to_json(receipt.as_dict()) + "\n")
    except OSError as error:
        raise InputError(f"can't write {path}", why=str(error)) from error


def skipped_in(receipt: Receipt) -> tuple[Skip, ...]:
    """Return the gates that a publication leaves out by an option, until it is finished.

    Afterwards `--resume` is the way to let them run.
    """
    if receipt.finished:
        return ()
    return tuple(
        Skip(gate=record.gate, reason=record.detail)
        for record in receipt.gates
        if record.state == LEFT_OUT and record.detail != UNSIGNED
    )


def differences(one: Receipt, other: Receipt) -> list[str]:
    """Return the fields by which two receipts are of different publications."""
    fields = ("image", "version", "revision", "mode")
    return [name for name in fields if getattr(one, name) != getattr(other, name)]


def is_same(one: Receipt, other: Receipt) -> bool:
    """Return whether two receipts are of one publication, of the same files."""
    return not differences(one, other) and one.uncommitted == other.uncommitted


def path_of_version(folder: Path, version: str) -> Path:
    """Return where a version's receipt is kept once another version's is the last."""
    return folder / f"{NAME.removesuffix('.json')}-{legal_part(version)}.json"


def find_receipt(folder: Path, version: str) -> Receipt | None:
    """Return a version's receipt: the last one's, or the one that was kept beside it.

    Raises:
        InputError: one of them can't be read (exit 2).
    """
    last = read_receipt(folder / NAME)
    if last and last.version == version:
        return last
    kept = read_receipt(path_of_version(folder, version))
    return kept if kept and kept.version == version else None


def supersedes(new: Receipt, kept: Receipt) -> bool:
    """Return whether a receipt may replace that of an earlier attempt at the same version.

    It may if it is finished, or records as much; a finished release is only replaced by one that
    has pushed or tagged more.
    """
    if new.finished:
        return True
    given = any(target.tags for target in kept.targets.values())
    if kept.digest and given and new.digest != kept.digest:
        return False
    if kept.finished:
        return _known(new)[:2] > _known(kept)[:2]
    return _known(new) >= _known(kept)


def _known(receipt: Receipt) -> tuple[int, int, int, bool]:
    targets = receipt.targets.values()
    tags = sum(len(target.tags) for target in targets)
    pushed = sum(bool(target.digest) for target in targets)
    return tags, pushed, len(receipt.gates), bool(receipt.digest)


def keep_receipt(folder: Path, receipt: Receipt, kept: Receipt | None) -> None:
    """Write a receipt as the last one, unless that of an earlier attempt records more.

    The receipt of another version is kept beside it, and stays the last one until there is an
    image.

    Args:
        kept: of this version, before this attempt.

    Raises:
        InputError: it can't be written (exit 2).
    """
    if kept and not supersedes(receipt, kept):
        _keep_claims(folder, receipt)
        return
    path, own = folder / NAME, path_of_version(folder, receipt.version)
    other = _version_in(path)
    if other not in {"", receipt.version}:
        if not receipt.digest:
            return
        path.replace(path_of_version(folder, other))
    for there in (path, own):
        _set_aside(there)
    write_receipt(path, receipt)
    own.unlink(missing_ok=True)


def _set_aside(path: Path) -> None:
    """Rename a receipt that can't be read: it may be of a later version of this program."""
    try:
        read_receipt(path)
    except InputError:
        names = (path.with_name(f"receipt-unreadable-{number}.json") for number in count(1))
        path.replace(next(name for name in names if not name.exists()))


def _keep_claims(folder: Path, receipt: Receipt) -> None:
    """Record the claims and unfinished tags of an attempt in the receipt that is kept.

    The next attempt needs them to resume.
    """
    kept = find_receipt(folder, receipt.version)
    begun = {
        name: _begun(target)
        for name, target in receipt.targets.items()
        if kept and name in kept.targets and kept.targets[name].repository == target.repository
    }
    if kept and any(_begun(kept.targets[name]) != one for name, one in begun.items()):
        for name, one in begun.items():
            kept.targets[name] = replace(kept.targets[name], **copy.deepcopy(one))
        last = _version_in(folder / NAME) == kept.version
        write_receipt(folder / NAME if last else path_of_version(folder, kept.version), kept)


def _begun(target: TargetRecord) -> dict[str, Any]:
    return {name: getattr(target, name) for name in ("claim", "earlier_claims", "under_way")}


def _version_in(path: Path) -> str:
    with suppress(InputError):
        found = read_receipt(path)
        return found.version if found else ""
    return ""


class _Sbom(TypedDict):
    """An SBOM in the figures of the gate."""

    platform: str
    digest: str
    packages: int
    files: list[str]


class _Provenance(TypedDict):
    """BuildKit's provenance of one platform's image."""

    platform: str
    digest: str
    file: str
    type: str


class _Tag(TypedDict):
    """The digest of a tag, and the one before."""

    digest: str
    before: str


@cache
def _hints(kind: object) -> dict[str, Any]:
    """Return the types of a record's fields, which Python makes from text each time."""
    return get_type_hints(kind)


def _fits(value: object, kind: object) -> bool:
    """Return whether a JSON value has a type; a TypedDict needs all of its keys."""
    if is_typeddict(kind):
        hints = _hints(kind)
        return isinstance(value, dict) and all(_fits(value.get(n), hints[n]) for n in hints)
    inner = get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if kind is float:
        return isinstance(value, int | float)
    return kind is Any or (isinstance(kind, type) and isinstance(value, kind))


def _read(kind: Callable[..., _T], found: Mapping[str, Any], **made: object) -> _T:
    """Return a record from JSON; raises TypeError if a value has the wrong type."""
    hints = _hints(kind)
    known = {name: value for name, value in found.items() if name in hints} | made
    for name in known.keys() - made.keys():
        _check(name, known[name], hints[name])
    return kind(**known)


def _check(name: str, value: object, kind: object) -> None:
    if not _fits(value, kind):
        raise TypeError(f"{name}: {value!r}")


def _check_parts(receipt: Receipt) -> None:
    """Raise TypeError or ValueError if a part has the wrong type."""
    for gate in receipt.gates:
        _check("sboms", gate.figures.get("sboms", []), list[_Sbom])
    _check("provenance", receipt.provenance, list[_Provenance])
    for target in receipt.targets.values():
        _check("tags", target.tags, dict[str, _Tag])
    for file in (file for sbom in receipt.sboms for file in sbom["files"]):
        if not file.endswith(tuple(SBOM_FILES.values())):
            raise ValueError(f"{file} is not an SBOM of a known type")
    if unknown := {one["type"] for one in receipt.provenance} - set(PROVENANCE.values()):
        raise ValueError(f"provenance of an unknown type: {min(unknown)}")


def read_receipt(path: Path) -> Receipt | None:
    """Return a receipt, or None if the file is missing.

    Raises:
        InputError: it can't be read, or is not a receipt (exit 2).
    """
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise InputError(f"{path} is a receipt of another version of this program")
        receipt = _read(
            Receipt,
            found,
            gates=[_read(GateRecord, one) for one in found["gates"]],
            targets={name: _read(TargetRecord, one) for name, one in found["targets"].items()},
        )
        _check_parts(receipt)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a receipt",
            why=str(error),
            hint="remove it, and run without --resume",
        ) from error
    return receipt


def fingerprint(config: Config, digest: str, *, today: date, release: bool) -> str:
    """Return a hash of everything that gate results depend on.

    Args:
        config: of the gates; the files that it names count by their content.
        today: in UTC; known vulnerabilities and suppressions change from day to day.
        release: the rules of a release apply.
    """
    asked = (
        digest,
        today,
        release,
        config.smoke,
        config.run,
        config.image_policy(),
        config.scan_settings(),
        config.diff_settings(),
        tuple(_contents(config)),
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def built_by(plan: BuildPlan, root: Path) -> str:
    """Return a hash of how an archive is built, independent of the project's directory.

    The commit is not enough: replacements of base images may come from the environment.
    """
    argv = buildx_argv(replace(plan, metadata_file=None))
    argv += tuple(built_by(one, root) for _, one in plan.below)
    if made := plan.checkout:
        # Its files are those of the commit and the included ones, in any directory.
        argv = tuple(word.replace(str(made.place(root)), ".") for word in argv)
        argv = tuple(word.replace(str(made.root), "commit") for word in argv)
        argv += tuple(word for pair in (("files", "commit"), *made.included) for word in pair)
    line = "\0".join(redact(word).replace(str(root), ".") for word in argv)
    return hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest()


def _contents(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the files that gates read, each with its hash, empty if it is missing.

    They may be ignored by git, or outside of the project, so that the commit is not enough.
    """
    names = (*config.scan_settings().vex, config.smoke.size_record)
    for name in filter(None, names):
        path = Path(config.root, name)
        content = path.read_bytes() if path.is_file() else b""
        yield name, hashlib.sha256(content).hexdigest() if content else ""
