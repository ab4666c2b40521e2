"""The analysis tree of a source: samplings by label, and maps by label under each.

The tree lives in memory and knows nothing of files. A results store fills it
with nodes whose artefact is loaded at first use, and reads back which nodes
have been set or deleted since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..errors import StoreError, suggest

__all__ = ["FULL_REGION", "Analyses", "Artefact", "Label", "Node", "commit_as_analysis", "find_artefacts"]

Label = str | int

# stands for "no region of interest: the whole field of view" where a label is needed
FULL_REGION = "full"


class Artefact:
    """What a node of the tree holds: a `Partition`, or `Maps` inferred from one.

    Attributes
    ----------
    parent : Artefact or None
        The partition that maps were inferred from.
    """

    _node: Node | None = None
    parent: Artefact | None = None

    @property
    def region_label(self) -> str:
        """Label of the region of interest that this artefact describes."""
        param = getattr(self, "param", None) or {}
        label = (param.get("roi") or {}).get("label")
        if label is None and self.parent is not None:
            return self.parent.region_label
        return FULL_REGION if label is None else str(label)

    @property
    def subtree(self) -> Node:
        """Node of the analysis tree that holds this artefact.

        Raises
        ------
        StoreError
            If the artefact has not been put into a tree.
        """
        if self._node is None:
            raise StoreError(
                f"this {type(self).__name__} is not in an analysis tree yet; "
                "put it there with `r.add_sampling(sampling)` or `tree[label] = sampling`"
            )
        return self._node

    def get_child(self, label: Label | None = None) -> Any:
        """Return the artefact stored below this one.

        Parameters
        ----------
        label : str or int, optional
            Label of the child; may be left out when there is only one.
        """
        return self.subtree.child(label).data

    def commit_as_analysis(self, label: Label | None = None, *, comment: str | None = None) -> Artefact:
        """Store maps in the tree, below the partition that they were inferred from.

        Parameters
        ----------
        label : str or int, optional
            Default: the smallest whole number that is free.
        """
        if self.parent is None:
            raise StoreError(
                f"cannot tell where to store this {type(self).__name__}: it has no parent; "
                "use `commit_as_analysis(label, artefact, parent=...)`"
            )
        self.parent.subtree.add(self, label, comment)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_node", "parent")}


class Node:
    """A node of the tree below the root: an artefact and its labelled children."""

    def __init__(self, data: Any = None, *, loader: Callable[[], Any] | None = None) -> None:
        self._data = None
        self._loader = loader
        self._children: dict[Label, Node] = {}
        self.comments: dict[Label, str] = {}
        self.metadata: dict[str, Any] = {}
        self.up: Node | Analyses | None = None
        self.modified = False
        if data is not None:
            self.data = data

    @property
    def data(self) -> Any:
        """The artefact, loaded at first use."""
        if self._data is None and self._loader is not None:
            self.data = self._loader()
            self.modified = False
        return self._data

    @data.setter
    def data(self, artefact: Any) -> None:
        self._data = artefact
        self.modified = True
        if isinstance(artefact, Artefact):
            artefact._node = self
            if isinstance(self.up, Node) and artefact.parent is None:
                artefact.parent = self.up.data

    @property
    def stored(self) -> bool:
        """Whether this node came from a results store."""
        return self._loader is not None

    @property
    def labels(self) -> list[Label]:
        """Labels of the children."""
        return list(self._children)

    def child(self, label: Label | None = None) -> Node:
        """Return a child node; without a label, the only one."""
        if label is None:
            if len(self._children) != 1:
                raise StoreError(
                    f"expected one child, found {len(self._children)}: choose among {self.labels}"
                )
            return next(iter(self._children.values()))
        return self[label]

    def __getitem__(self, label: Label) -> Node:
        try:
            return self._children[label]
        except KeyError:
            raise StoreError(f"no analysis labelled {label!r}; {suggest(label, self.labels)}") from None

    def __setitem__(self, label: Label | None, artefact: Any) -> None:
        self.add(artefact, label)

    def __delitem__(self, label: Label) -> None:
        del self._children[self._existing(label)]
        self.comments.pop(label, None)
        self.modified = True

    def _existing(self, label: Label) -> Label:
        if label not in self._children:
            raise StoreError(f"no analysis labelled {label!r}; {suggest(label, self.labels)}")
        return label

    def __contains__(self, label: object) -> bool:
        return label in self._children

    def __iter__(self) -> Iterator[Label]:
        return iter(self._children)

    def add(self, artefact: Any, label: Label | None = None, comment: str | None = None) -> Node:
        """Store an artefact under a label; an artefact already there is replaced."""
        if label is None:
            label = next(i for i in range(len(self._children) + 1) if i not in self._children)
        self.comments.pop(label, None)
        if comment:
            self.comments[label] = comment
        return self.attach(label, artefact if isinstance(artefact, Node) else Node(artefact))

    def attach(self, label: Label, node: Node) -> Node:
        """Hang a node below this one, as it is."""
        node.up = self
        artefact = node._data
        if isinstance(artefact, Artefact) and artefact.parent is None:
            artefact.parent = self.data
        self._children[label] = node
        return node

    def children(self) -> list[tuple[Label, Node]]:
        """Return (label, node) of every child."""
        return list(self._children.items())

    def get_child(self, label: Label | None = None) -> Any:
        """Return the artefact of a child; without a label, of the only one."""
        return self.child(label).data

    def _lines(self, label: Label, depth: int) -> Iterator[str]:
        kind = "Partition" if depth == 1 else "Maps"
        yield "\t" * depth + f"{label!r} <{kind}>"
        for name, child in self._children.items():
            yield from child._lines(name, depth + 1)


class Analyses:
    """Root of the tree of one source.

    Samplings are found by label. Several regions of a source may share a label:
    `of_region` tells them apart, ``tree[label]`` works while there is only one.
    """

    def __init__(self, table: Callable[[], Any] | None = None) -> None:
        self._table = table
        self._nodes: dict[tuple[Label, str], Node] = {}
        # (sampling folder, map label, region) of what a results store has put here
        self.stored: set[tuple[str, str | None, str]] = set()
        self.comments: dict[Label, str] = {}
        self.metadata: dict[str, Any] = {}

    @property
    def data(self) -> Any:
        """Trajectory table of the source."""
        return None if self._table is None else self._table()

    @property
    def changed(self) -> bool:
        """Whether anything was set or deleted since the tree was made or filled from a store."""
        count = sum(1 + len(node.labels) for node in self._nodes.values())
        return self.modified or count < len(self.stored)

    @property
    def labels(self) -> list[Label]:
        """Labels of the samplings, each once."""
        return list(dict.fromkeys(label for label, _ in self._nodes))

    @property
    def modified(self) -> bool:
        """Whether anything was set since the tree was made or loaded."""
        return any(n.modified or any(c.modified for c in n._children.values()) for n in self._nodes.values())

    @property
    def autosave(self) -> bool:
        """Always true: what is committed is written at the end of the unit or `with` block."""
        return True

    def items(self) -> list[tuple[Label, str, Node]]:
        """Return (label, region, node) of every sampling."""
        return [(label, region, node) for (label, region), node in self._nodes.items()]

    def of_region(self, label: Label, region: str) -> Node:
        """Return the sampling of a region."""
        try:
            return self._nodes[label, region]
        except KeyError:
            raise StoreError(
                f"no sampling labelled {label!r} for region {region!r}; {suggest(label, self.labels)}"
            ) from None

    def __getitem__(self, label: Label | None) -> Node:
        label = FULL_REGION if label is None else label
        found = [node for (name, _), node in self._nodes.items() if name == label]
        if len(found) == 1:
            return found[0]
        if not found:
            raise StoreError(f"no sampling labelled {label!r}; {suggest(label, self.labels)}")
        raise StoreError(
            f"label {label!r} holds the samplings of {len(found)} regions; "
            f"use `r.get_sampling({label!r})` on the region"
        )

    def __setitem__(self, label: Label | None, sampling: Any) -> None:
        self.add(sampling, label)

    def __delitem__(self, label: Label) -> None:
        self[label]
        self._nodes = {key: node for key, node in self._nodes.items() if key[0] != label}

    def __contains__(self, label: object) -> bool:
        return any(name == label for name, _ in self._nodes)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def add(self, sampling: Any, label: Label | None = None, comment: str | None = None) -> Node:
        """Store a sampling, replacing the one of the same label and region."""
        region = sampling.region_label if isinstance(sampling, Artefact) else FULL_REGION
        label = region if label is None else label
        self.comments.pop(label, None)
        if comment:
            self.comments[label] = comment
        return self.attach(label, region, Node(sampling))

    def attach(self, label: Label, region: str, node: Node) -> Node:
        """Hang a node below the root, as it is."""
        node.up = self
        self._nodes[label, region] = node
        return node

    def __str__(self) -> str:
        lines = ["<DataFrame>"]
        for (label, _), node in self._nodes.items():
            lines += node._lines(label, 1)
        return "\n".join(lines)

    __repr__ = __str__


def commit_as_analysis(label: Label | None, artefact: Artefact, parent: Any) -> Artefact:
    """Store an artefact in the analysis tree.

    Parameters
    ----------
    label : str or int, optional
        Default: the region's label for a partition, the smallest free whole number for maps.
    artefact : Partition or Maps
        What to store.
    parent : region, source, Partition or Node
        Where: a region or source for a partition, a partition for maps.

    Returns
    -------
    Partition or Maps
        The same artefact, now in the tree.
    """
    if hasattr(parent, "add_sampling"):
        parent.add_sampling(artefact, label)
    elif isinstance(parent, Artefact):
        artefact.parent = parent
        parent.subtree.add(artefact, label)
    else:
        parent.add(artefact, label)
    return artefact


def find_artefacts(tree: Analyses | Node, kind: type | tuple[type, ...]) -> list[Any]:
    """Return every artefact of a type below a node, in order."""
    children = (
        [n for _, _, n in tree.items()] if isinstance(tree, Analyses) else list(tree._children.values())
    )
    found = []
    for node in children:
        if isinstance(node.data, kind):
            found.append(node.data)
        found += find_artefacts(node, kind)
    return found
