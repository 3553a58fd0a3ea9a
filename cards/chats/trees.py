"""Chats whose messages are a tree of versions: the branch that was read last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def branch(nodes: Mapping[str, Any], leaf: Any, parent: str) -> list[Mapping[str, Any]]:
    """The nodes from the root to a leaf, oldest first; without a leaf, to the last node.

    Args:
        nodes: objects by their ids.
        leaf: the id where the branch ends.
        parent: the key of the id of the node before.
    """
    if not isinstance(leaf, str) or leaf not in nodes:
        leaf = next(reversed(list(nodes)), None)
    chain: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    while isinstance(leaf, str) and leaf not in seen and isinstance(nodes.get(leaf), Mapping):
        seen.add(leaf)
        node: Mapping[str, Any] = nodes[leaf]
        chain.append(node)
        leaf = node.get(parent)
    return chain[::-1]
