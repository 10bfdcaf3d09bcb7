"""Reads YAML as texts, lists and tables that know their lines.

By PyYAML, with its loader that makes a text of every scalar: `22:22` is no number in base 60 and
`on` no truth value, as they are for docker, and no tag of the file makes an object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import yaml

_DEEPEST: Final = 60
_NULL: Final = {"", "~", "null", "Null", "NULL"}


class Node(NamedTuple):
    """A value, and the line where it begins, from 1."""

    value: str | list[Node] | dict[str, Node] | None
    line: int

    @property
    def table(self) -> dict[str, Node]:
        """Return a table's values by key; of anything else, nothing."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> list[Node]:
        """Return a list's values; of a text, itself."""
        if isinstance(self.value, list):
            return self.value
        return [self] if isinstance(self.value, str) and self.value else []

    @property
    def text(self) -> str:
        """Return a text; of anything else, an empty one."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def texts(self) -> list[str]:
        """Return the texts of a list, or the one that it is."""
        return [item.text for item in self.items if item.text]

    @property
    def pairs(self) -> list[str]:
        """Return NAME=VALUE texts, of a list or of a table; without a value, the NAME alone."""
        table = self.table.items()
        return [
            key if one.value is None else f"{key}={one.text}" for key, one in table
        ] or self.texts

    def get(self, *keys: str) -> Node:
        """Return what lies below a path of keys; nothing where there is none."""
        node = self
        for key in keys:
            node = node.table.get(key, Node("", node.line))
        return node


class _Converter:
    def __init__(self) -> None:
        self._known: dict[int, Node] = {}

    def node(self, node: yaml.Node, depth: int = 0) -> Node:
        if depth > _DEEPEST:
            raise yaml.YAMLError("nested too deeply")
        if id(node) not in self._known:
            self._known[id(node)] = Node(self._value(node, depth), node.start_mark.line + 1)
        return self._known[id(node)]

    def _value(self, node: yaml.Node, depth: int) -> str | list[Node] | dict[str, Node] | None:
        if isinstance(node, yaml.SequenceNode):
            return [self.node(one, depth + 1) for one in node.value]
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, depth))
        null = isinstance(node, yaml.ScalarNode) and not node.style and node.value in _NULL
        return None if null else str(node.value)

    def _pairs(self, node: yaml.MappingNode, depth: int) -> Iterator[tuple[str, Node]]:
        own = [(str(key.value), self.node(value, depth + 1)) for key, value in node.value]
        for key, value in own:
            if key == "<<":
                for one in value.items or [value]:
                    yield from one.table.items()
        yield from ((key, value) for key, value in own if key != "<<")


def read_yaml(text: str) -> Node | str:
    """Return the only document of a file, or why it can't be read."""
    try:
        loader = yaml.BaseLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return _Converter().node(node) if node else Node({}, 1)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return " ".join(str(error).split()) or "it is nested too deeply"
