"""An SBOM of each platform's image, by syft, in SPDX and CycloneDX.

syft reads the very image that is stored: no engine is asked, and nothing is pulled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from buildlib.errors import BuildlibError, GateError, InputError, ToolError
from buildlib.executor import Completed, Runner
from buildlib.files import counted
from buildlib.image.archive import Archive, Image
from buildlib.image.platform import parse_platform
from buildlib.image.unknown_packages import check_known
from buildlib.program import ways_to_get
from buildlib.shell import NOT_FOUND, repeated
from buildlib.tempfiles import passing_folder
from buildlib.terminal.text import table

_TIMEOUT: Final = 300.0
# syft's name of a format in the version that other tools read, whatever syft's own default is, and
# how its files end; source: github.com/anchore/syft, "Output formats".
FORMATS: Final = {"spdx-json@2.3": "spdx.json", "cyclonedx-json@1.6": "cdx.json"}
# syft looks for a newer version of itself at every start.
_QUIET: Final = ("env", "SYFT_CHECK_FOR_APP_UPDATE=false")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sbom:
    """The SBOM of one platform.

    Args:
        platform: `os/arch[/variant]`.
        digest: of the manifest that it is about.
        packages: how many it lists.
        files: that were written, SPDX first.
    """

    platform: str
    digest: str
    packages: int
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return every field, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class SbomReport:
    """The SBOMs of an image, one for each platform."""

    sboms: tuple[Sbom, ...]

    def warnings(self) -> tuple[str, ...]:
        """Return a warning for each SBOM that lists nothing."""
        return tuple(
            f"syft sees no package in the image for {one.platform}: its SBOM is empty"
            for one in self.sboms
            if not one.packages
        )

    def problems(self) -> tuple[BuildlibError, ...]:
        """Return nothing: an SBOM that can't be made is an error of `make_sboms`."""
        return ()

    def as_dict(self) -> dict[str, Any]:
        """Return every SBOM, ready for JSON."""
        return {"sboms": [one.as_dict() for one in self.sboms]}

    def as_text(self) -> str:
        """Return a row for each file."""
        rows = [
            (one.platform if number == 0 else "", packages if number == 0 else "", file)
            for one in self.sboms
            for packages in [counted(one.packages, "package")]
            for number, file in enumerate(one.files)
        ]
        return table(rows)


def make_sboms(
    archive: Archive,
    name: str,
    folder: Path,
    executor: Runner,
    *,
    stem: str = "",
    allow_unknown: bool = False,
) -> SbomReport:
    """Write the SBOMs of every platform's image.

    Args:
        folder: that they are written to; made where it is not there.
        stem: beginning of the files' names; empty: the image's name.
        allow_unknown: an image with programs may be one in which no package is seen.

    Raises:
        InputError: the image can't be read, or the folder not written (exit 2).
        ToolError: syft is not here (exit 3).
        GateError: syft could not read the image, or sees no package in one that holds a program:
            no SBOM, no release (exit 7).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't write to {folder}", why=str(error)) from error
    sboms = []
    for image in archive.images():
        sboms.append(_sbom(archive, image, name, folder / (stem or name), executor))
        if not sboms[-1].packages:
            check_known(archive, image, "syft", allowed=allow_unknown)
    return SbomReport(sboms=tuple(sboms))


def _sbom(archive: Archive, image: Image, name: str, stem: Path, executor: Runner) -> Sbom:
    slug = parse_platform(image.platform).slug
    files = {form: stem.with_name(f"{stem.name}-{slug}.{end}") for form, end in FORMATS.items()}
    with passing_folder("sbom") as temporary:
        single = temporary / "image.tar"
        archive.write_image(image, single)
        outputs = repeated("--output", (f"{form}={path}" for form, path in files.items()))
        # The name of the image: without it, the SBOM would be named after the temporary file.
        source = ("--source-name", name, "--source-version", image.digest)
        argv = (*_QUIET, "syft", "scan", f"oci-archive:{single}", "--quiet", *source, *outputs)
        done = executor.run(argv, timeout=_TIMEOUT)
    _check_found(done)
    if done.code != 0:
        raise GateError(f"syft can't read the image for {image.platform}", why=done.stderr.strip())
    return Sbom(
        platform=image.platform,
        digest=image.digest,
        packages=_packages(next(iter(files.values())), image.platform),
        files=tuple(str(path) for path in files.values()),
    )


def packages_of(archive: Archive, image: Image, executor: Runner) -> dict[str, str]:
    """Return the packages of an image, `npm/express`, each with its version, or all of them.

    Raises:
        InputError: the image can't be read (exit 2).
        ToolError: syft is not here (exit 3).
        GateError: syft could not read the image, or wrote what can't be understood (exit 7).
    """
    with passing_folder("packages") as folder:
        made = _sbom(archive, image, "image", folder / "packages", executor)
        return packages_in(Path(made.files[0]))


def packages_in(path: Path) -> dict[str, str]:
    """Return the packages that an SBOM in SPDX lists, as `packages_of` does.

    Raises:
        GateError: it is none (exit 7).
    """
    try:
        return _versions(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise GateError(
            f"syft wrote no SBOM at {path.name}", why=f"{type(error).__name__}: {error}"
        ) from error


def _versions(document: Mapping[str, Any]) -> dict[str, str]:
    described = {
        one["relatedSpdxElement"]
        for one in document.get("relationships") or ()
        if one["relationshipType"] == "DESCRIBES"
    }
    found: dict[str, set[str]] = {}
    for package in document["packages"]:
        if package["SPDXID"] not in described:
            found.setdefault(_name(package), set()).add(str(package.get("versionInfo") or ""))
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _name(package: Mapping[str, Any]) -> str:
    """Return a package's name with its kind, by its purl: `pkg:npm/express@4.18.0`."""
    for one in package.get("externalRefs") or ():
        if one["referenceType"] == "purl":
            address = re.split("[?#]", str(one["referenceLocator"]))[0].removeprefix("pkg:")
            # A scope begins with @ as well, and is encoded.
            return unquote(address.partition("@")[0])
    return str(package["name"])


def find_syft(executor: Runner) -> None:
    """Check that syft can be started.

    Raises:
        ToolError: it can't (exit 3).
    """
    _check_found(executor.run((*_QUIET, "syft", "version"), timeout=_TIMEOUT))


def _check_found(done: Completed) -> None:
    if done.code == NOT_FOUND:
        raise ToolError(
            "syft not found: no SBOM can be made",
            hint=ways_to_get("anchore/syft"),
        )


def _packages(path: Path, platform: str) -> int:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["packages"]
        count = len(listed)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise GateError(f"syft wrote no SBOM for {platform}", why=str(error)) from error
    # The first is the image itself.
    if not count:
        raise GateError(f"syft wrote no SBOM for {platform}", why="it does not name the image")
    return count - 1


def subject_of(path: Path) -> str:
    """Return the digest that an SBOM of either format is about; empty where it names none.

    The files of every release have the same names, so that is the only thing to go by.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if "bomFormat" in found:
            return str(found["metadata"]["component"]["version"])
        described = {
            one["relatedSpdxElement"]
            for one in found["relationships"]
            if one["relationshipType"] == "DESCRIBES"
        }
        return next(str(p["versionInfo"]) for p in found["packages"] if p["SPDXID"] in described)
    except (OSError, ValueError, LookupError, TypeError, StopIteration):
        return ""


def made_by(path: Path) -> str:
    """Return the tool that made an SPDX document, and its version; empty: it does not say."""
    try:
        creators = json.loads(path.read_text(encoding="utf-8"))["creationInfo"]["creators"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    tools = [str(one).removeprefix("Tool: ") for one in creators if str(one).startswith("Tool: ")]
    return " ".join(tools[0].rsplit("-", 1)) if tools else ""
