"""Names of an image's labels: those of OCI, and ours.

Source: OCI image-spec, annotations.md, "Pre-Defined Annotation Keys".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

NAMESPACE: Final = "buildlib"
# Of images, containers and volumes that an earlier version made.
_FORMER: Final = "io.github.smiller333.buildlib"
# Whose image it is: what we clean up goes by this, and never by a name alone.
OWNER: Final = f"{NAMESPACE}.image"
STAND_INS: Final = f"{NAMESPACE}.stand-ins"
OCI: Final = "org.opencontainers.image"
VERSION_LABEL: Final = f"{OCI}.version"
REVISION_LABEL: Final = f"{OCI}.revision"
CREATED_LABEL: Final = f"{OCI}.created"


def names_of(label: str) -> tuple[str, str]:
    """Return a label of ours under its name, and under the one that it had before."""
    return label, label.replace(NAMESPACE, _FORMER, 1)


def value_of(labels: Mapping[str, str], label: str) -> str:
    """Return the value of a label of ours, under either name; empty: it is not there."""
    return next((labels[name] for name in names_of(label) if labels.get(name)), "")


def index_annotations(labels: Mapping[str, str]) -> dict[str, str]:
    """Return those of the labels that an index has as annotations.

    The page of a registry shows what the index says, and not the labels of the images in it;
    source: docs.github.com, "Working with the Container registry".
    """
    return {name: value for name, value in labels.items() if name.startswith(f"{OCI}.")}


def stand_ins_of(images: Iterable[Mapping[str, str]]) -> set[str]:
    """Return the stand-ins that images say they were built on, by the labels of each."""
    return {name for labels in images for name in value_of(labels, STAND_INS).split()}
