"""What is compared of one platform's image: its configuration, files, packages and findings."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from buildlib.findings.secrets import hide_assigned, looks_secret
from buildlib.findings.vulnerability import Vulnerability
from buildlib.image.archive import Archive, File, Image
from buildlib.image.labels import OCI
from buildlib.image.layer import LayerError
from buildlib.image.root_filesystem import Rootfs

ENV: Final = "env "
_BASE_LABELS: Final = {f"{OCI}.base.name": "name", f"{OCI}.base.digest": "digest"}
# What a container gets, as the image-spec names it and as a Dockerfile does.
_SETTINGS: Final = {
    "User": "user",
    "WorkingDir": "workdir",
    "Entrypoint": "entrypoint",
    "Cmd": "cmd",
    "Healthcheck": "healthcheck",
    "StopSignal": "stopsignal",
    "Shell": "shell",
    "OnBuild": "onbuild",
}
# The numbers of Linux, include/uapi/linux/capability.h, in their order.
_CAPABILITIES: Final = (
    *("chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid"),
    *("setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw"),
    *("ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct"),
    *("sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod"),
    *("lease", "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog"),
    *("wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore"),
)
# Bytes of the attribute before the sets: the version and the flag "effective"; then 32 bits each.
_SETS: Final = re.compile(r"(?:[0-9a-f]{2}){4}((?:[0-9a-f]{8}){4})")
Value = str | int
Facts = Mapping[str, Value]


class LayerFacts(NamedTuple):
    """A layer: its digest when unpacked, bytes as stored, and the instruction that made it.

    `content` stands for all that counts of its entries, which times do not; empty: not known.
    """

    diff_id: str
    size: int
    made_by: str
    content: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """One platform's image.

    Args:
        platform: `os/arch[/variant]`.
        digest: of the manifest.
        unpacked: bytes of the files of all layers.
        packed: the layers are stored compressed; an engine may have them unpacked.
        layers: from the base upwards.
        config: user, command, ports and so on.
        labels: without those of the base.
        base: what the labels say of the base image.
        hidden: items of these three whose value looks secret, and is never shown.
        files: what a container sees, by path.
        packages: with their versions; None: not known.
        findings: vulnerabilities; None: not scanned.
    """

    platform: str
    digest: str = ""
    unpacked: int = 0
    packed: bool = True
    layers: tuple[LayerFacts, ...] = ()
    config: Facts = field(default_factory=dict)
    labels: Facts = field(default_factory=dict)
    base: Facts = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    files: Mapping[str, Facts] = field(default_factory=dict)
    packages: Mapping[str, str] | None = None
    findings: tuple[Vulnerability, ...] | None = None

    @property
    def stored(self) -> int:
        """Return the bytes of its layers as they are stored."""
        return sum(layer.size for layer in self.layers)


def describe(
    archive: Archive,
    image: Image,
    *,
    allowed: Iterable[str] = (),
    findings: tuple[Vulnerability, ...] | None = None,
) -> Description:
    """Read an image down to the content of its files.

    Args:
        archive: that holds it.
        image: of one platform.
        allowed: patterns of variables and labels that are shown, although they look secret.
        findings: of the image.

    Raises:
        InputError: a layer can't be read, or engines could not unpack it (exit 2).
    """
    rootfs, unpacked = Rootfs(), 0
    contents = list[str]()
    for layer in image.layers:
        content = hashlib.sha256()
        try:
            for one in rootfs.unpack(_hashed(archive.files(layer, contents=True), content)):
                unpacked += one.file.size
        except LayerError as error:
            raise archive.unreadable(layer, error) from error
        contents.append(content.hexdigest())
    patterns = tuple(allowed)
    config, labels = dict(_settings(image.runtime)), image.labels
    return Description(
        platform=image.platform,
        digest=image.digest,
        unpacked=unpacked,
        packed=not any(layer.media_type.endswith("tar") for layer in image.layers),
        layers=tuple(
            LayerFacts(
                layer.diff_id,
                layer.size,
                hide_assigned(layer.created_by, patterns),
                content,
            )
            for layer, content in zip(image.layers, contents, strict=True)
        ),
        config=config,
        labels={name: text for name, text in labels.items() if name not in _BASE_LABELS},
        base={key: labels[name] for name, key in _BASE_LABELS.items() if name in labels},
        hidden=frozenset(
            item
            for item, text in [*labels.items(), *config.items()]
            if looks_secret(item.removeprefix(ENV), text, patterns)
        ),
        files={path: _facts(one.file) for path, one in rootfs.visible().items()},
        findings=findings,
    )


def _hashed(files: Iterable[File], content: hashlib._Hash) -> Iterator[File]:
    """Yield the entries of a layer, and hash all that counts of them."""
    for one in files:
        content.update(repr((one.path, *_facts(one).items())).encode("utf-8", "surrogatepass"))
        yield one


def _settings(runtime: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, name in _SETTINGS.items():
        if value := runtime.get(key):
            yield name, value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    for variable in runtime.get("Env") or ():
        name, _, text = str(variable).partition("=")
        yield f"{ENV}{name}", text
    for key, name in (("ExposedPorts", "port"), ("Volumes", "volume")):
        for one in runtime.get(key) or ():
            yield f"{name} {one}", ""


def _facts(file: File) -> Facts:
    """Return what counts of a file; a link has no mode of its own, and a time never counts."""
    # Few owners and modes, of many files.
    owner = sys.intern(f"{file.user}:{file.group}")
    found: dict[str, Value] = {"kind": file.kind, "owner": owner}
    if file.kind != "link":
        found["mode"] = sys.intern(f"{file.mode:04o}")
    if file.kind == "file":
        found |= {"size": file.size, "content": f"sha256:{file.sha256}"}
    if file.target:
        found["target"] = file.target
    if file.capability:
        found["capabilities"] = capabilities(file.capability)
    if others := [name for name in file.attributes if name != "security.capability"]:
        found["attributes"] = " ".join(others)
    return found


def capabilities(value: str) -> str:
    """Return the permitted capabilities of a file, as names; any other form is left as it is.

    Args:
        value: of the attribute, in hexadecimal; source: include/uapi/linux/capability.h.
    """
    match = _SETS.match(value)
    if not match:
        return value
    low, _, high, _ = (match[1][at : at + 8] for at in range(0, 32, 8))
    bits = int.from_bytes(bytes.fromhex(low + high), "little")
    names = [name for number, name in enumerate(_CAPABILITIES) if bits >> number & 1]
    return ",".join(names) or value


def privileges(facts: Facts) -> Facts:
    """Return what a file gives to whoever starts it: setuid, setgid and of whom, capabilities."""
    found: dict[str, Value] = {}
    mode = int(str(facts["mode"]), 8) if facts["kind"] == "file" else 0
    if mode & (stat.S_ISUID | stat.S_ISGID):
        found["mode"] = facts["mode"]
    user, _, group = str(facts.get("owner", "")).partition(":")
    if mode & stat.S_ISUID:
        found["user"] = user
    if mode & stat.S_ISGID:
        found["group"] = group
    if "capabilities" in facts:
        found["capabilities"] = facts["capabilities"]
    return found
