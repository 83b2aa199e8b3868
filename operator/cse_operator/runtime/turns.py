"""One resource at a time acts on an engine, and the next waits until the last call shows.

Several resources can name the same engine: two manifests with the same id, or a deleted
resource and its successor. Between a call and its effect in the vendor's reads, the other one
would see an engine that nobody upgrades, and call a second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cse_operator.runtime.store import EngineKey

_FOREVER: Final = float("inf")
_FEW: Final = 1024


@dataclass(frozen=True, slots=True)
class _Turn:
    uid: str
    until: float
    job_id: int | None = None


class EngineTurns:
    """Who called last on which engine, for as long as that keeps others from calling."""

    def __init__(self) -> None:
        self._turns: dict[EngineKey, _Turn] = {}
        self._many = _FEW

    def take(self, engine: EngineKey, uid: str, *, now: float, latest_job_id: int | None) -> bool:
        """Begin a call for a resource; False while the call of another one is not over.

        Args:
            engine: the engine to call.
            uid: the resource's; one that is made anew under the same name is another one.
            now: monotonic seconds.
            latest_job_id: the latest job that the engine shows.
        """
        turn = self._turns.get(engine)
        if turn is not None and turn.uid != uid and now < turn.until:
            shown = turn.job_id is not None and latest_job_id == turn.job_id
            if not shown:
                return False
        self._turns[engine] = _Turn(uid, _FOREVER)
        if len(self._turns) > self._many:
            # Those whose resource went away in between: nobody else takes them out.
            self._turns = {key: kept for key, kept in self._turns.items() if now < kept.until}
            self._many = max(_FEW, 2 * len(self._turns))
        return True

    def called(self, engine: EngineKey, uid: str, *, until: float, job_id: int | None) -> None:
        """The call was answered, or its answer was lost; others wait until its effect shows.

        Args:
            engine: the engine that was called.
            uid: the resource's.
            until: monotonic seconds when it shows at the latest.
            job_id: the new job by which the engine shows it, if that is known.
        """
        self._turns[engine] = _Turn(uid, until, job_id)

    def over(self, engine: EngineKey, uid: str) -> None:
        """Nothing is open for this resource any more: what its call did can be seen."""
        turn = self._turns.get(engine)
        if turn is not None and turn.uid == uid:
            del self._turns[engine]
