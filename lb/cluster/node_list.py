"""The nodes of a cluster that live, as etcd has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lb.cluster.node_state import NodeState
from lb.cluster.part import BadKeys
from lb.etcd.messages import KeyValue, PrefixEvent

__all__ = ["NODES", "NodeList"]

NODES = "nodes/"
"""Where their keys are, relative to the cluster's prefix."""


class NodeList:
    """Hears of the nodes. ``own`` is this node's name, and ``own_gone`` is called when its key is gone."""

    def __init__(self, own: str, own_gone: Callable[[], None], bad_keys: BadKeys) -> None:
        self.found: dict[str, NodeState] = {}
        """The nodes by name, sorted. This one may be missing, and may have changed since."""
        self._own = own
        self._own_gone = own_gone
        self._bad_keys = bad_keys

    def snapshot(self, entries: Mapping[str, KeyValue]) -> None:
        """Take all keys, by name of the node."""
        read = {name: self._read(name, entry) for name, entry in sorted(entries.items())}
        self.found = {name: state for name, state in read.items() if state is not None}
        if self._own not in entries:
            self._own_gone()

    def changed(self, name: str, event: PrefixEvent) -> None:
        """Take the change of a node's key."""
        state = None if event.deleted else self._read(name, event.entry)
        others = {each: known for each, known in self.found.items() if each != name}
        self.found = dict(sorted({**others, name: state}.items())) if state is not None else others
        if event.deleted and name == self._own:
            self._own_gone()

    def _read(self, name: str, entry: KeyValue) -> NodeState | None:
        try:
            return NodeState.decoded(entry.value)
        except ValueError as error:
            self._bad_keys.bad(NODES + name, entry.value, error)
            return None
