"""Lays the layers of an image over each other, as the engine does, and says what a container sees.

The engine unpacks each layer into a directory of its own, and overlayfs lays the directories over
each other. So a link in a lower layer leads nowhere in an upper one, and a directory hides it. What
the engine can't unpack is an error here too.

Sources: containerd, archive/tar.go (`applyNaive`) and archive/tar_opts_linux.go (whiteouts);
continuity, fs/path.go (`RootPath`); the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from posixpath import normpath
from typing import Final

from buildlib.image.layer import File, LayerError
from buildlib.image.limits import (
    LONGEST_NAME,
    MOST_ATTRIBUTES,
    MOST_ENTRIES,
    MOST_NAMES,
    MOST_STEPS,
)

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_WHITEOUT_DEVICE: Final = "c 0:0"
# The engine puts this where a layer hides what lies below.
_WHITE: Final = File(
    path="", kind="device", size=0, mode=0, user=0, group=0, modified=0, target=_WHITEOUT_DEVICE
)
# As many links in a path as containerd follows, and the kernel.
_MOST_LINKS: Final = 255
_MOST_SYSTEM_LINKS: Final = 40
_CAPABILITY: Final = "security.capability"
# System calls leave an owner with this number as it is.
_SAME: Final = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A file, and the layer that holds it, counted from the base, 1.

    Args:
        inode: of all names of one file the same; nothing else is known of it.
    """

    file: File
    layer: int
    inode: int = 0


@dataclass(slots=True)
class _Node:
    """A file in a directory into which one layer was unpacked; all its hard links share it."""

    file: File
    # Of a directory: what is in it, and whether it hides those below.
    entries: dict[str, _Node] | None = None
    opaque: bool = False

    @property
    def inside(self) -> dict[str, _Node]:
        """Return what is in a directory; nothing is in anything else."""
        return {} if self.entries is None else self.entries

    @property
    def is_whiteout(self) -> bool:
        return self.file.kind == "device" and self.file.target == _WHITEOUT_DEVICE


def _directory(path: str, like: File | None = None, group: int = 0) -> _Node:
    made = File(
        path=path,
        kind="directory",
        size=0,
        mode=like.mode if like else 0o755,
        user=like.user if like else 0,
        group=like.group if like else group,
        modified=like.modified if like else 0,
        attributes=like.attributes if like else (),
    )
    return _Node(made, {})


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


@dataclass(slots=True)
class _Directory:
    """Where one layer is unpacked; `below` are those of the layers below it, the nearest first."""

    below: list[_Directory]
    root: _Node = field(default_factory=lambda: _directory(""))
    # In the base, which engines unpack in another way: what was not only made as a parent.
    unpacked: set[str] = field(default_factory=set)
    # The cost so far: names in paths that were looked up, bytes of the paths of parents.
    steps: int = 0
    made: int = 0

    def find(self, path: str) -> _Node | None:
        """Return what is at a path that has no links in it; None: nothing."""
        node = self.root
        for part in _parts(path):
            found = node.inside.get(part)
            if found is None:
                return None
            node = found
        return node

    def _lookup(self, path: str) -> _Node | None:
        """Return what is at a path, as the system does: it follows links on the way, not the last.

        Raises:
            LayerError: something on the way is not a directory, or there are too many links.
        """
        trail, rest, links = [self.root], _parts(path)[::-1], 0
        self.steps += len(rest)
        if self.steps > MOST_STEPS:
            raise LayerError("it has too many links to follow")
        while rest:
            part = rest.pop()
            if part == "..":
                trail = trail[:-1] or trail
                continue
            entries = trail[-1].entries
            if entries is None:
                raise LayerError(f"{path!r} leads through what is not a directory")
            found = entries.get(part)
            if found is None:
                return None
            if found.file.kind == "link" and rest:
                links += 1
                if links > _MOST_SYSTEM_LINKS:
                    raise LayerError(f"there are too many links in {path!r}")
                if found.file.target.startswith("/"):
                    trail = [self.root]
                rest += _parts(found.file.target)[::-1]
                self.steps += len(rest)
            else:
                trail.append(found)
        return trail[-1]

    def resolve(self, path: str) -> str:
        """Return a path without links, bounded by the root; what is missing is taken as it is."""
        walked = 0
        while True:
            at, before = "", walked
            for part in path.split("/"):
                joined = _bounded(f"{at}/{part}")
                node = self._lookup(joined)
                target = node.file.target if node and node.file.kind == "link" else None
                walked += target is not None
                if walked > _MOST_LINKS:
                    raise LayerError(f"there are too many links in {path!r}")
                absolute = (target or "").startswith("/")
                at = (
                    joined if target is None else _bounded(target if absolute else f"{at}/{target}")
                )
            if walked == before and at == path:
                return at
            path = at

    def parent(self, path: str) -> _Node:
        """Return a directory, made with its own parents where it is missing."""
        node, at = self.root, ""
        for part in _parts(path):
            at = f"{at}/{part}" if at else part
            found = node.inside.get(part)
            if found is None:
                _check_name(part)
                self.made += len(at)
                if self.made > MOST_NAMES:
                    raise LayerError("it has too many directories that it does not name")
                group = node.file.group if node.file.mode & 0o2000 else 0
                found = node.inside[part] = _directory(at, self._attributes_below(at), group)
            if found.entries is None:
                raise LayerError(f"{at!r} has to be a directory, and is a {found.file.kind}")
            node = found
        return node

    def _attributes_below(self, path: str) -> File | None:
        """Return the directory of a layer below whose owner and mode one of this gets."""
        for one in self.below:
            found = one.find(one.resolve(path))
            if found:
                return found.file if found.entries is not None else None
        return None


def _is_whiteout(path: str) -> bool:
    return path.rpartition("/")[2].startswith(_WHITEOUT)


def _bounded(path: str) -> str:
    return normpath(f"/{path}").strip("/")


def _check_name(name: str) -> None:
    if len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise LayerError(f"a name is longer than {LONGEST_NAME} bytes: {name[:20]!r}…")


class Rootfs:
    """The layers of an image, unpacked one after the other."""

    def __init__(self) -> None:
        self._layers: list[_Directory] = []
        self._entries = self._names = 0

    def unpack(self, files: Iterable[File]) -> Iterator[Stored]:
        """Unpack the next layer, over those before it.

        Args:
            files: its entries, in their order.

        Yields:
            Each entry, at the path that it is found at, without links.

        Raises:
            LayerError: the engine can't unpack it.
        """
        # The last layer is the first.
        self._layers.insert(0, _Directory([*self._layers]))
        folders = []
        for file in files:
            path = self._add(file)
            yield Stored(
                file=file if path == file.path else replace(file, path=path),
                layer=len(self._layers),
            )
            if file.kind == "directory" and not _is_whiteout(path):
                folders.append(file.path)
        top = self._layers[0]
        for name in folders:
            # At the end the engine sets the times of directories, which have to be there still.
            there = top.find(name)
            if (there is None or there.entries is None) and not top.find(top.resolve(name)):
                raise LayerError(f"the directory {name!r} is replaced in its layer")

    def _add(self, file: File) -> str:
        self._entries += 1
        self._names += len(file.path) + len(file.target)
        if self._entries > MOST_ENTRIES or self._names > MOST_NAMES:
            raise LayerError("the image has too many entries, or their names are too long")
        if not file.path:
            return file.path
        top = self._layers[0]
        parent, _, name = file.path.rpartition("/")
        folder = top.find(parent)
        if folder is None or folder.entries is None:
            parent = top.resolve(parent)
            folder = top.parent(parent)
        path = f"{parent}/{name}" if parent else name
        if _is_whiteout(path):
            self._white_out(folder, path, name)
        else:
            self._put(folder, path, name, file)
            top.unpacked.add(path)
        return path

    def _white_out(self, folder: _Node, path: str, name: str) -> None:
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in {"", ".", ".."}:
            raise LayerError(f"{path!r} hides nothing")
        _check_name(hidden)
        entries = folder.inside
        if len(self._layers) == 1:
            # There is nothing below, and engines remove what the layer itself has.
            if name == _OPAQUE:
                _remove_parents(folder, path.rpartition("/")[0], self._layers[0].unpacked)
            else:
                entries.pop(hidden, None)
        elif name == _OPAQUE:
            folder.opaque = True
        elif hidden in entries:
            raise LayerError(f"{path!r} hides what is in the same layer")
        else:
            entries[hidden] = _Node(_WHITE)

    def _put(self, folder: _Node, path: str, name: str, file: File) -> None:
        _check_name(name)
        entries = folder.inside
        there = entries.get(name)
        if there and there.entries is not None and file.kind == "directory":
            there.file = _owned(file, there.file, path)
            return
        entries.pop(name, None)
        if file.kind == "global header":
            return
        if file.kind == "hard link":
            node = self._target(file)
            node.file = _owned(file, node.file, node.file.path)
        else:
            group = folder.file.group if folder.file.mode & 0o2000 else 0
            made = replace(file, path=path, user=0, group=group, mode=file.mode, attributes=())
            if file.kind == "link" and not file.target:
                raise LayerError(f"the link {path!r} leads to nothing")
            node = _Node(_owned(file, made, path), {} if file.kind == "directory" else None)
        entries[name] = node

    def _target(self, file: File) -> _Node:
        parent, _, name = file.target.rpartition("/")
        top = self._layers[0]
        node = top.find(_bounded(f"{top.resolve(parent)}/{name}"))
        if node is None or node.entries is not None:
            what = "is missing" if node is None else "is a directory"
            raise LayerError(
                f"{file.path!r} is a link to {file.target!r}, which {what} in its layer"
            )
        return node

    def visible(self) -> dict[str, Stored]:
        """Return what a container sees, by path."""
        found: dict[str, Stored] = {}
        roots = [(one.root, number) for number, one in enumerate(self._layers[::-1], 1)]
        waiting = [("", roots[::-1])]
        while waiting:
            prefix, folders = waiting.pop()
            for name, nodes in _merged(folders):
                path = f"{prefix}/{name}" if prefix else name
                node, layer = nodes[0]
                file = node.file if node.file.path == path else replace(node.file, path=path)
                found[path] = Stored(file=file, layer=layer, inode=id(node))
                if node.entries is not None:
                    waiting.append((path, nodes))
        return found


_Numbered = tuple[_Node, int]


def _merged(folders: list[_Numbered]) -> Iterator[tuple[str, list[_Numbered]]]:
    """Yield each name in a directory that several layers have, the uppermost first, and its nodes.

    There are several where it is a directory in several layers.
    """
    for name in dict.fromkeys(name for folder, _ in folders for name in folder.inside):
        nodes: list[_Numbered] = []
        for folder, layer in folders:
            node = folder.inside.get(name)
            if node is None:
                continue
            if node.is_whiteout or (nodes and node.entries is None):
                break
            nodes.append((node, layer))
            if node.entries is None or node.opaque:
                break
        if nodes:
            yield name, nodes


def _remove_parents(folder: _Node, path: str, unpacked: set[str]) -> None:
    """Remove what was only made as a parent, with all that is in it."""
    waiting = [(folder, path)]
    while waiting:
        node, at = waiting.pop()
        for name, one in list(node.inside.items()):
            below = f"{at}/{name}" if at else name
            if below in unpacked:
                waiting.append((one, below))
            else:
                del node.inside[name]


def _owned(file: File, before: File, path: str) -> File:
    """Return a file with the owner, mode, time and attributes that an entry gives it."""
    user, group = file.user & _SAME, file.group & _SAME
    # A new owner takes the capabilities of a file away.
    lost = () if before.kind == "directory" else (_CAPABILITY,)
    given = {name for name in file.attributes if not name.startswith("trusted.")}
    attributes = {*before.attributes} - {*lost} | given
    if len(attributes) > MOST_ATTRIBUTES:
        raise LayerError(f"{path!r} has more than {MOST_ATTRIBUTES} attributes")
    capability = file.capability if _CAPABILITY in given else before.capability
    if _CAPABILITY not in attributes:
        capability = ""
    return replace(
        before,
        path=path,
        user=before.user if user == _SAME else user,
        group=before.group if group == _SAME else group,
        mode=before.mode if before.kind == "link" else file.mode,
        modified=file.modified,
        attributes=tuple(sorted(attributes)),
        capability=capability,
    )
