"""How the cluster side names an object: by value, never by holding the object itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """One object in the cluster, told apart from a later one of the same name by its uid."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
