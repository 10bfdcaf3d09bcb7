"""OCI labels as one sorted mapping.

Source: OCI image-spec, annotations.md, "Pre-Defined Annotation Keys".
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from buildlib.config.config import Config
from buildlib.git.facts import without_credentials
from buildlib.image.labels import (
    CREATED_LABEL,
    OCI,
    OWNER,
    REVISION_LABEL,
    STAND_INS,
    VERSION_LABEL,
)
from buildlib.versioning.placeholders import fill
from buildlib.versioning.version import Version


def web_address(remote: str) -> str:
    """Return a git address as the page that a person can open: no credentials, no ssh, no .git."""
    address = without_credentials(remote)
    scp = re.fullmatch(r"(?:[^@/:]+@)?([^/:]+\.[^/:]+):(?!//)(.+)", address)
    if scp:
        address = f"https://{scp[1]}/{scp[2]}"
    # Their port is not the page's.
    address = re.sub(
        r"^(?:ssh|git|git\+ssh|ssh\+git)://([^/]+?)(?::\d+)?(?=/|$)", r"https://\1", address
    )
    # A path on this machine does not belong in an image.
    return address.removesuffix(".git") if address.startswith(("https://", "http://")) else ""


def image_labels(
    config: Config,
    version: Version,
    *,
    remote: str = "",
    base_name: str = "",
    base_digest: str = "",
    stand_ins: Iterable[str] = (),
    branch: str = "",
    written: Container[str] = (),
) -> dict[str, str]:
    """Return the labels, sorted by name; empty ones are left out, configured ones win.

    Args:
        config: gives title, description, licenses, source and own labels; the title is otherwise
            the image's name.
        version: gives version, revision and time.
        remote: the address of `origin`, for a source that is not configured.
        base_digest: what that is pinned to.
        stand_ins: references whose real image was replaced by a stand-in.
        branch: that HEAD is on, for labels that name it.
        written: labels of the Dockerfile, which win over those that are not configured.
    """
    facts = {
        "version": version.value,
        "revision": version.revision,
        "created": version.created_text,
        "branch": branch,
    }
    derived = {
        f"{OCI}.title": config.short_name,
        f"{OCI}.source": web_address(remote),
    }
    configured = {
        f"{OCI}.title": config.title,
        f"{OCI}.source": without_credentials(config.source),
    }
    labels = {
        **{name: value for name, value in derived.items() if name not in written},
        **{name: value for name, value in configured.items() if value},
        f"{OCI}.description": config.description,
        f"{OCI}.licenses": config.licenses,
        VERSION_LABEL: version.value,
        REVISION_LABEL: version.revision,
        CREATED_LABEL: version.created_text,
        f"{OCI}.base.name": base_name,
        f"{OCI}.base.digest": base_digest,
        OWNER: config.owner,
        STAND_INS: " ".join(sorted(stand_ins)),
        **{name: fill(text, facts) for name, text in config.labels},
    }
    return {name: value for name, value in sorted(labels.items()) if value}
