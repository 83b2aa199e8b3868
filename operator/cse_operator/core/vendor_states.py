"""The vendor's words for the states of engines and jobs, and what they mean here.

From the Huawei Cloud CSE API Reference (ShowEngine, ShowEngineJob) and what its Terraform provider
met. A word that is not known is never taken for well, for ended or for nothing: it waits and is
shown.
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
"""The engine's words are met as ends of jobs too."""
JOB_ENDINGS: Final = JOB_ERRORS | {JOB_FINISHED, JOB_TIMEOUT}
JOB_RUNS: Final = frozenset({"PreInit", "Init", "Executing"})
UPGRADE_JOB_TYPE: Final = "Upgrade"


def passes_by_itself(engine_status: str) -> bool:
    """Whether an engine that was well may be so again without anybody's doing.

    Such a state has to be seen a few times before it counts: the vendor shows it in passing.
    """
    return engine_status != AVAILABLE and engine_status not in UNUSABLE_STATUSES
