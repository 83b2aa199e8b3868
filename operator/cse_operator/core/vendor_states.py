"""The vendor's words for the states of engines and jobs, and their meaning here.

From the Huawei Cloud CSE API Reference (ShowEngine, ShowEngineJob) and from the words that its
Terraform provider has met. An unknown word never counts as available, as ended, or as absent: the
operator waits and shows the word.
"""

from __future__ import annotations

from typing import Final

AVAILABLE: Final = "Available"
UPGRADING: Final = "Upgrading"
UPGRADE_FAILED: Final = "UpgradeFailed"
BUSY_STATUSES: Final = frozenset({"PreInit", "Creating", "Modifying", UPGRADING})
UNUSABLE_STATUSES: Final = frozenset(
    {
        "CreateFail",
        "CreateFailed",
        "Deleting",
        "Deleted",
        "DeleteFailed",
        "Freezed",
        "Frozen",
        "ModifyFailed",
        UPGRADE_FAILED,
    }
)
RETRY_ACTION: Final = "Retry"

JOB_FINISHED: Final = "Finished"
JOB_TIMEOUT: Final = "Timeout"
JOB_ERRORS: Final = frozenset(
    {"Error", "CreateFail", "CreateFailed", "DeleteFailed", "ModifyFailed", UPGRADE_FAILED}
)
"""The engine's status words also occur as ends of jobs."""
JOB_ENDINGS: Final = JOB_ERRORS | {JOB_FINISHED, JOB_TIMEOUT}
JOB_RUNS: Final = frozenset({"PreInit", "Init", "Executing"})
UPGRADE_JOB_TYPE: Final = "Upgrade"


def passes_by_itself(engine_status: str) -> bool:
    """Whether an engine that was available may become so again without a person's action.

    The vendor shows such states in passing, so a state counts only after a few looks in a row.
    """
    return engine_status != AVAILABLE and engine_status not in UNUSABLE_STATUSES
