"""What was done, kept on disk after every step: to go on from, and to look up later."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import date
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
from buildlib.console import redact, to_json
from buildlib.errors import InputError
from buildlib.files import write_file
from buildlib.image.platform import parse_platform
from buildlib.image.reference import legal_part
from buildlib.image.sbom import subject_of
from buildlib.publish.plan import PublishPlan

_T = TypeVar("_T")
SCHEMA: Final = 1
NAME: Final = "receipt.json"
# The type that cosign knows a bill by, and how its file ends.
BILLS: Final = {"spdxjson": "spdx.json", "cyclonedx": "cdx.json"}
# What BuildKit's provenance is by its URI, and the type that cosign knows it by.
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


@dataclass(kw_only=True)
class TargetRecord:
    """What became of one registry.

    Args:
        repository: with the registry's host.
        digest: that it holds; empty: not pushed yet.
        sent, there, size: blobs that were sent, that were there already, and bytes that were sent.
        signed_by: key or identity by which it was verified there; empty: not yet, or not wanted.
        tags: by name, what each stands for now and stood for before.
        wanted: the tags that it is to have.
        under_way: each tag whose last request may not be carried out yet, with the digest that it
            is pointed to.
        claim: identifier of the claim under which the tags are given; empty: there is none now.
        earlier_claims: those of earlier runs, which did not end well: each may still be there.
        retries: requests that were tried again.
        error: why it was given up; empty: it was not.
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


@dataclass(kw_only=True)
class Receipt:
    """One publication as far as it has come.

    Args:
        image, version, revision, mode: what is published.
        uncommitted: one hash of all that was not; empty: everything was.
        included: files beside those of the commit, each with its digest.
        archive: the file, relative to the project where it lies in it.
        digest: of the whole, as it is published; empty: not built yet.
        built: of the whole as the builder made it: another one where attestations are in the index.
        platforms: the digest of each one's manifest.
        built_by: how it was built.
        judged: what the gates were asked about: the digest, and how they are configured.
        provenance: BuildKit's own statements, each with platform, digest, file and type.
        finished: every tag is where it belongs.
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

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON; what others said is without their credentials."""
        found = asdict(self)
        for gate in found["gates"]:
            gate["detail"] = redact(gate["detail"])
        for target in found["targets"].values():
            target["error"] = redact(target["error"])
        return {"schema": SCHEMA, **found}


def inside(path: Path, root: Path) -> str:
    """Return a path as a receipt has it: nothing of the machine that it is on."""
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def new_receipt(config: Config, plan: PublishPlan, *, started: str) -> Receipt:
    """Return the receipt of a publication of which nothing is done yet."""
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


def find_bills(folder: Path, name: str, platforms: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the bills of materials that lie in a directory, as the gate would note them.

    Args:
        folder: that `docker-sbom` writes to.
        name: of the image.
        platforms: each with its manifest's digest.

    Raises:
        InputError: one of them is about another image (exit 2).
    """
    found = []
    for platform, digest in platforms.items():
        slug = parse_platform(platform).slug
        files = [folder / f"{name}-{slug}.{end}" for end in BILLS.values()]
        there = [str(file) for file in files if file.is_file()]
        for file in there:
            check_bill(Path(file), digest)
        found.append({"platform": platform, "digest": digest, "packages": 0, "files": there})
    return [bill for bill in found if bill["files"]]


def check_bill(file: Path, digest: str) -> None:
    """Raise InputError (exit 2) where a bill of materials is not about this image."""
    said = subject_of(file)
    if said != digest:
        raise InputError(
            f"{file.name} is about another image",
            why=f"{said or 'it does not say which'}, and this is {digest}",
            hint="invoke docker-sbom --image ARCHIVE writes it again",
        )


def bills_are_there(receipt: Receipt, root: Path) -> bool:
    """Return whether the bills that a receipt knows are there still, and about its images."""
    bills = [bill for gate in receipt.gates for bill in gate.figures.get("sboms", ())]
    return bool(bills) and all(
        subject_of(root / file) == bill["digest"] for bill in bills for file in bill["files"]
    )


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write it as a whole or not at all; raises InputError (exit 2) where it can't be."""
    try:
        write_file(path, to_json(receipt.as_dict()) + "\n")
    except OSError as error:
        raise InputError(f"can't write {path}", why=str(error)) from error


def differences(one: Receipt, other: Receipt) -> list[str]:
    """Return in which fields two receipts are about different publications."""
    fields = ("image", "version", "revision", "mode")
    return [name for name in fields if getattr(one, name) != getattr(other, name)]


def is_same(one: Receipt, other: Receipt) -> bool:
    """Return whether two receipts are about one publication, of the same files."""
    return not differences(one, other) and one.uncommitted == other.uncommitted


def path_of_version(folder: Path, version: str) -> Path:
    """Return where the receipt of a version is kept once another version's is the last."""
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

    It may once it is finished, or as soon as it knows as much; beside a finished release only
    what was done since then counts.
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
    """Write a receipt as the last one, unless an earlier attempt's knows more.

    That of another version is kept beside it, and stays the last one until there is an image.

    Args:
        folder: that receipts are in.
        receipt: of this attempt.
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
    """Keep what can't be read under another name: it may be of a later version of this program."""
    try:
        read_receipt(path)
    except InputError:
        names = (path.with_name(f"receipt-unreadable-{number}.json") for number in count(1))
        path.replace(next(name for name in names if not name.exists()))


def _keep_claims(folder: Path, receipt: Receipt) -> None:
    """Note in a receipt that stays what an attempt has begun: the next one goes on from there.

    These are its claims, and the tags that may still be written.
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


class _Bill(TypedDict):
    """What the gate notes of a bill of materials."""

    platform: str
    digest: str
    packages: int
    files: list[str]


class _Provenance(TypedDict):
    """What is noted of BuildKit's own statement."""

    platform: str
    digest: str
    file: str
    type: str


class _Tag(TypedDict):
    """What a tag stands for, and stood for before."""

    digest: str
    before: str


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401 - whatever a hint may be
    """Return whether what JSON held is of a kind; a TypedDict's names all have to be there."""
    if is_typeddict(kind):
        hints = get_type_hints(kind)
        return isinstance(value, dict) and all(_fits(value.get(n), hints[n]) for n in hints)
    inner = get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    return kind is Any or isinstance(value, (int, float) if kind is float else kind)


def _read(kind: type[_T], found: Mapping[str, Any], **made: object) -> _T:
    """Return a record of what was kept; raises TypeError where that is not what it should be."""
    hints = get_type_hints(kind)
    known = {name: value for name, value in found.items() if name in hints} | made
    for name in known.keys() - made.keys():
        _check(name, known[name], hints[name])
    return kind(**known)


def _check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401 - see _fits
    if not _fits(value, kind):
        raise TypeError(f"{name}: {value!r}")


def _read_gate(found: Mapping[str, Any]) -> GateRecord:
    record = _read(GateRecord, found)
    bills = record.figures.get("sboms", [])
    _check("sboms", bills, list[_Bill])
    for file in (file for bill in bills for file in bill["files"]):
        if not file.endswith(tuple(BILLS.values())):
            raise ValueError(f"{file} is not an SBOM that is known here")
    return record


def _check_provenance(found: list[dict[str, str]]) -> None:
    _check("provenance", found, list[_Provenance])
    if unknown := {one["type"] for one in found} - set(PROVENANCE.values()):
        raise ValueError(f"provenance of a type that is not known here: {min(unknown)}")


def _read_target(found: Mapping[str, Any]) -> TargetRecord:
    record = _read(TargetRecord, found)
    _check("tags", record.tags, dict[str, _Tag])
    return record


def read_receipt(path: Path) -> Receipt | None:
    """Return what was kept, or None where there is nothing.

    Raises:
        InputError: it can't be read, or is of another kind (exit 2).
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
            gates=[_read_gate(one) for one in found["gates"]],
            targets={name: _read_target(one) for name, one in found["targets"].items()},
        )
        _check_provenance(receipt.provenance)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} is not a receipt",
            why=str(error),
            hint="remove it and leave --resume out",
        ) from error
    return receipt


# What gates were asked about, as one hash: an outcome counts for that, and for nothing else.


def fingerprint(config: Config, digest: str, *, today: date, release: bool) -> str:
    """Return the hash.

    Args:
        config: of the gates; the files that it names count by their content.
        digest: of the image.
        today: in UTC. What is known of an image, and what is ignored, changes from day to day.
        release: the rules of a release count.
    """
    asked = (
        digest,
        today,
        release,
        config.smoke,
        config.run,
        config.image_policy(),
        config.scan_settings(),
        tuple(_contents(config)),
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def built_by(plan: BuildPlan, root: Path) -> str:
    """Return the hash of how an archive is built, wherever the project lies.

    The commit alone does not tell: what replaces a base image may come from the environment.

    Args:
        plan: of the build.
        root: of the project.
    """
    argv = buildx_argv(replace(plan, metadata_file=None))
    if made := plan.checkout:
        # Its files are those of the commit and these, wherever it lies.
        argv = tuple(word.replace(str(made.place(root)), ".") for word in argv)
        argv = tuple(word.replace(str(made.root), "commit") for word in argv)
        argv += tuple(word for pair in (("files", "commit"), *made.included) for word in pair)
    line = "\0".join(redact(word).replace(str(root), ".") for word in argv)
    return hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest()


def _contents(config: Config) -> Iterator[tuple[str, str]]:
    """Yield the files that gates read beside the image, each with its hash; absent ones have none.

    They may be ignored by git, or lie elsewhere: then the commit does not tell what is in them.
    """
    names = (*config.scan_settings().vex, config.smoke.size_record)
    for name in filter(None, names):
        path = Path(config.root, name)
        content = path.read_bytes() if path.is_file() else b""
        yield name, hashlib.sha256(content).hexdigest() if content else ""
