"""PURE. One node of a run's outputs: its path, and the values that the outputs have there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ..codec import JSON, encode
from .paths import ODD_KEY, child_path, join, split, without_indexes
from .values import MISSING


class Node(msgspec.Struct, gc=False):
    """A path, and what follows from it. A struct of msgspec is made in half the time of a NamedTuple."""

    path: str
    plain: str
    """The path as the platform writes it: without quotes around an odd key."""
    field: str
    name: str | None
    parent: str | None
    index: int | None
    depth: int
    initial_path: str | None = None
    """The path in the initial output: None where it is `path`, "" where the initial output has no such item."""

    @property
    def is_moved(self) -> bool:
        """The same path of the initial output is about another node, or about none."""
        return self.initial_path is not None

    @property
    def is_removed(self) -> bool:
        """An item that only the initial output has, or a node below one."""
        return "[~" in self.path

    def children(self, keys: Iterable[str]) -> list[Node]:
        """The nodes of an object's keys."""
        path, field, index, depth = self.path, self.field, self.index, self.depth + 1
        is_plain = self.plain == path
        before = f"{path}." if path else ""
        before_plain = f"{self.plain}." if self.plain else ""
        before_field = f"{field}." if field else ""
        nodes = []
        for key in keys:
            # nearly all keys are identifiers, and that is the quickest thing to ask
            if key.isidentifier() or (key and not ODD_KEY.search(key)):
                step, below = before + key, before_field + key
                plain = step if is_plain else before_plain + key
            else:
                quoted = "[" + encode(key).decode() + "]"
                step, below, plain = path + quoted, field + quoted, before_plain + key
            nodes.append(Node(step, plain, below, key, path, index, depth))
            if self.initial_path:
                nodes[-1].initial_path = child_path(self.initial_path, key)
            elif self.initial_path is not None:
                nodes[-1].initial_path = ""
        return nodes

    def items(self, count: int) -> list[Node]:
        """The nodes of an array's entries, each at the same index in the initial output."""
        if self.is_moved:
            return [self.item(i, i) for i in range(count)]
        path, field, name, depth = self.path, f"{self.field}[]", self.name, self.depth + 1
        is_plain = self.plain == path
        nodes = []
        for i in range(count):
            step = f"{path}[{i}]"
            plain = step if is_plain else f"{self.plain}[{i}]"
            nodes.append(Node(step, plain, field, name, path, i, depth))
        return nodes

    def item(self, final: int | None, initial: int | None) -> Node:
        """The node of an entry with these indexes in the final and in the initial output."""
        index = initial if final is None else final
        step = f"[~{index}]" if final is None else f"[{index}]"
        node = Node(
            self.path + step,
            self.plain + step,
            f"{self.field}[]",
            self.name,
            self.path,
            index,
            self.depth + 1,
        )
        if initial is None or self.initial_path == "":
            node.initial_path = ""
        elif self.initial_path or final != initial:
            node.initial_path = f"{self.initial_path or self.path}[{initial}]"
        return node

    @property
    def is_item(self) -> bool:
        """An array's entry."""
        return self.field.endswith("[]")


class Values(NamedTuple):
    """The value of one node in each output, MISSING where an output does not have it."""

    final: JSON = MISSING
    initial: JSON = MISSING
    reviewed: JSON = MISSING


ROOT: Final = Node("", "", "", None, None, None, 0)


def node_at(path: str, plain: str) -> Node:
    """The node of a path that no value has."""
    steps = split(path)
    name = next((step for step in reversed(steps) if type(step) is str), None)
    index = next((step for step in reversed(steps) if type(step) is int), None)
    return Node(path, plain, without_indexes(path), name, join(steps[:-1]), index, 0)
