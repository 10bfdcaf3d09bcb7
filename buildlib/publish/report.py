"""What publishing did: a row for each gate and each registry."""

from __future__ import annotations

from collections.abc import Iterable

from buildlib.console import redact, table
from buildlib.files import counted, human_size
from buildlib.image.reference import short_digest
from buildlib.publish.receipt import Receipt, TargetRecord


def as_text(receipt: Receipt) -> str:
    """Return the outcome for a terminal."""
    head = [("image", f"{receipt.image} {receipt.version}"), ("digest", receipt.digest or "-")]
    if receipt.built not in {"", receipt.digest}:
        head.append(("as built", f"{receipt.built}, without attestations"))
    head += [(platform, short_digest(digest)) for platform, digest in receipt.platforms.items()]
    if receipt.rehearsal:
        head.append(("rehearsal", "every registry is on this machine"))
    gates = [
        (record.gate, record.state, f"{record.seconds:.1f} s" if record.seconds else record.detail)
        for record in receipt.gates
    ]
    parts = [
        table(head),
        *([table([("gate", "outcome", ""), *gates])] if gates else []),
        *([_registries(receipt)] if receipt.targets else []),
    ]
    return redact("\n\n".join(parts))


def _registries(receipt: Receipt) -> str:
    rows = [("registry", "sent", "there", "signed by", "tags", "outcome")]
    for name, record in receipt.targets.items():
        rows.append(
            (
                name,
                f"{record.sent} ({human_size(record.size)})" if record.digest else "-",
                str(record.there) if record.digest else "-",
                record.signed_by or "-",
                " ".join(record.tags) or "-",
                _outcome(record),
            )
        )
    held = [
        f"{record.repository}:{tag} stays where it is: {reason}"
        for record in receipt.targets.values()
        for tag, reason in record.held_back.items()
    ]
    return "\n".join([table(rows), *held])


def _outcome(record: TargetRecord) -> str:
    retries = counted(record.retries, "retry", "retries")
    again = f", {retries}" if record.retries else ""
    if record.error:
        return f"failed: {_first(record.error.splitlines())}{again}"
    if record.tags:
        whole = set(record.wanted) <= set(record.tags)
        return f"{'published' if whole else 'not all tags are given'}{again}"
    return f"pushed, not tagged{again}" if record.digest else f"nothing done{again}"


def _first(lines: Iterable[str]) -> str:
    return next(iter(lines), "")
