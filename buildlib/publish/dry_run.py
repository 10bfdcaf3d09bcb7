"""The plan of a publication as a shell script, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from buildlib.build.argv import build_line
from buildlib.config.publish import DIFF, REPRODUCIBLE, SBOM, SIGN
from buildlib.program import PROGRAM
from buildlib.publish.plan import PublishPlan, Target, required_first
from buildlib.publish.receipt import inside
from buildlib.shell import repeated, shell_line

# The shell variable for the digest, which is not known before the build.
DIGEST: Final = "$DIGEST"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptStep:
    """A step with the command that does it by hand; `notes` are what it will not do."""

    title: str
    command: str
    notes: tuple[str, ...] = ()


def _gate_command(gate: str, plan: PublishPlan, archive: str, attested: str) -> tuple[str, ...]:
    image = ("--image", archive)
    platforms = repeated("--platform", plan.platforms)
    release = () if plan.rehearsal else ("--release",)
    return {
        "smoke": (
            *(PROGRAM, "docker-smoke", *image, *platforms),
            *("--expect-version", plan.version),
        ),
        "policy": (PROGRAM, "docker-policy", *image, *release),
        REPRODUCIBLE: (PROGRAM, "docker-reproduce"),
        DIFF: (PROGRAM, "docker-diff", "--new", archive, "--check"),
        SBOM: (PROGRAM, "docker-sbom", *image, *(("--index", attested) if attested else ())),
    }.get(gate, (PROGRAM, f"docker-{gate}", *image))


def steps(plan: PublishPlan, root: Path) -> Iterator[ScriptStep]:
    """Yield every step with its command; together they are a shell script."""
    path = inside(plan.archive, root)
    # By hand, only the SBOMs go into the index.
    attested = inside(plan.pushed, root) if plan.in_index and SBOM in plan.gates else ""
    yield ScriptStep(title="build every platform, once", command=build_line(plan.build))
    for gate in plan.gates:
        command = shell_line(_gate_command(gate, plan, path, attested))
        yield ScriptStep(title=f"gate: {gate}", command=command)
    for skip in plan.skipped:
        yield ScriptStep(title=f"left out: {skip.gate}", command="", notes=(skip.reason,))
    if plan.in_index:
        yield ScriptStep(
            title="the index gets its attestations, and another digest; the images keep theirs",
            command="",
        )
    for target in plan.targets:
        yield from _arrival(plan, target, attested or path)
    yield from (
        _tag_step(plan, target, tag)
        for target in required_first(plan.targets)
        for tag in target.pinned
    )
    yield from (_tag_step(plan, target, tag) for target in plan.targets for tag in target.floating)
    for target in plan.targets:
        notes = tuple(f"{tag} is not moved: {reason}" for tag, reason in target.held_back)
        if notes:
            yield ScriptStep(title=f"not moved in {target.name}", command="", notes=notes)


def _arrival(plan: PublishPlan, target: Target, path: str) -> Iterator[ScriptStep]:
    push = shell_line((PROGRAM, "docker-push", "--image", path, "--registry", target.name))
    yield ScriptStep(
        title=f"push to {target.name} by digest, without a tag", command=f"DIGEST=$({push})"
    )
    if not plan.signs:
        return
    at = f'"{target.repository}@{DIGEST}"'
    yield ScriptStep(
        title=f"sign in {target.name}, and attach the attestations",
        command=f"{PROGRAM} docker-sign {at} --release",
    )
    yield ScriptStep(
        title=f"verify in {target.name}, as a third party would",
        command=f"{PROGRAM} docker-verify {at}",
    )


def promote_line(digest: str, tag: str, registry: str, *, unverified: str = "") -> str:
    """Return the command that gives a tag.

    Args:
        digest: as a shell reads it.
        registry: by its name in the configuration.
        unverified: why nothing is verified; empty: it is.
    """
    reason = ("--unverified", unverified) if unverified else ()
    rest = shell_line((tag, "--registry", registry, *reason))
    return f"{PROGRAM} docker-promote {digest} {rest}"


def _tag_step(plan: PublishPlan, target: Target, tag: str) -> ScriptStep:
    unverified = next((skip.reason for skip in plan.skipped if skip.gate == SIGN), "")
    return ScriptStep(
        title=f"tag {target.repository}:{tag}",
        command=promote_line(f'"{DIGEST}"', tag, target.name, unverified=unverified),
    )


def as_script(plan: PublishPlan, root: Path) -> str:
    """Return the steps as a shell script with comments: what `--dry-run` prints."""
    about = f"{plan.version} ({plan.mode}) of {plan.build.image}, {plan.revision[:7]}"
    lines = [_comment(about)]
    if plan.rehearsal:
        lines.append(_comment("a test release: every registry is on this machine"))
    lines += [
        "set -eu",
        shell_line(("cd", "--", str(root))),
        shell_line(("mkdir", "-p", str(plan.archive.parent))),
    ]
    for number, step in enumerate(steps(plan, root), 1):
        lines.append(_comment(f"{number}. {step.title}"))
        lines += [_comment(f"   {note}") for note in step.notes]
        lines += [step.command] if step.command else []
    return "\n".join(lines)


def _comment(text: str) -> str:
    shown = (char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return f"# {''.join(shown)}"


def as_dict(plan: PublishPlan, root: Path) -> dict[str, Any]:
    """Return the plan, ready for JSON.

    Args:
        root: of the project; paths in it are relative to it.
    """
    return {
        "image": plan.build.image,
        "version": plan.version,
        "revision": plan.revision,
        "mode": str(plan.mode),
        "uncommitted": plan.uncommitted,
        "rehearsal": plan.rehearsal,
        "platforms": list(plan.platforms),
        "archive": inside(plan.archive, root),
        "gates": list(plan.gates),
        "skipped": [asdict(skip) for skip in plan.skipped],
        "signs": plan.signs,
        "attestations": plan.attestations,
        "pushed": inside(plan.pushed, root),
        "targets": [
            {
                "name": target.name,
                "repository": target.repository,
                "required": target.registry.required,
                "tags": list(target.tags),
                "floating": list(target.floating),
                "held_back": dict(target.held_back),
            }
            for target in plan.targets
        ],
        "steps": [asdict(step) for step in steps(plan, root)],
    }
