"""Reports of a publication: a row for each gate, each registry and each tag."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from buildlib.files import counted, human_size
from buildlib.image.reference import short_digest
from buildlib.publish.receipt import Receipt, TargetRecord
from buildlib.terminal.console import Console
from buildlib.terminal.text import redact, table, to_json


def as_text(receipt: Receipt) -> str:
    """Return the outcome for a terminal."""
    head = [("image", f"{receipt.image} {receipt.version}"), ("digest", receipt.digest or "-")]
    if receipt.built not in {"", receipt.digest}:
        head.append(("as built", f"{receipt.built}, without attestations"))
    head += [(platform, short_digest(digest)) for platform, digest in receipt.platforms.items()]
    if receipt.rehearsal:
        head.append(("test release", "every registry is on this machine"))
    gates = [
        (
            record.gate,
            record.outcome,
            f"{record.seconds:.1f} s" if record.seconds else record.detail,
        )
        for record in receipt.gates
    ]
    parts = [
        table(head),
        *([table([("gate", "outcome", ""), *gates], head=True)] if gates else []),
        *([_registries(receipt)] if receipt.targets else []),
    ]
    return redact("\n\n".join(parts))


def _registries(receipt: Receipt) -> str:
    rows = [("registry", "uploaded", "existed", "signed by", "tags", "outcome")]
    for name, record in receipt.targets.items():
        rows.append(
            (
                name,
                f"{record.sent} ({human_size(record.size)})" if record.digest else "-",
                str(record.there) if record.digest else "-",
                record.signed_by or "-",
                " ".join(record.given) or "-",
                _outcome(record),
            )
        )
    held = [
        f"{record.repository}:{tag} is not moved: {reason}"
        for record in receipt.targets.values()
        # Without a tag nothing was to move.
        if record.tags
        for tag, reason in record.held_back.items()
    ]
    return "\n".join([table(rows, head=True), *held])


def _outcome(record: TargetRecord) -> str:
    retries = counted(record.retries, "retry", "retries")
    again = f", {retries}" if record.retries else ""
    if record.error:
        first = record.error.splitlines()[0]
        return f"failed: {first}{again}"
    if record.tags:
        whole = set(record.wanted) <= set(record.tags)
        return f"{'published' if whole else 'not all tags are given'}{again}"
    return f"pushed, not tagged{again}" if record.digest else f"nothing done{again}"


@contextmanager
def reported_tags(
    console: Console, digest: str, *, as_json: bool, resume: str = ""
) -> Iterator[Callable[[Mapping[str, str]], None]]:
    """Collect tags as they are given, and print them after the block, also where it fails.

    Args:
        resume: the command that does what is left after a failure; empty: the same command.
    """
    rows: list[Mapping[str, str]] = []

    def show() -> None:
        if as_json:
            console.answer(to_json({"digest": digest, "tags": rows}))
        else:
            cells = [_tag_row(row, digest) for row in rows]
            console.report(table(cells) if rows else "nothing to do")

    try:
        yield rows.append
    except BaseException:
        if rows or as_json:
            show()
        if resume:
            console.warn(f"interrupted: {resume} continues")
        raise
    show()


def _tag_row(row: Mapping[str, str], digest: str) -> tuple[str, str, str]:
    # Two registries may hold different images of one version.
    now, before = row.get("digest", digest), row["before"]
    # Whole: it is what docker-promote needs to point the tag back, and no registry remembers it.
    was = f"was {before}" if before else "new"
    return row["reference"], short_digest(now), "as before" if before == now else was
