"""References to objects in the cluster, which do not hold the objects themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """A reference to one object; the uid distinguishes it from a later object of the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
