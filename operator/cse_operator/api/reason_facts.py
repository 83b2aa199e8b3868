"""The runbook's facts about all reasons."""

from __future__ import annotations

from typing import Final

from cse_operator.api.engine_reasons import ENGINE_REASONS
from cse_operator.api.policy_reasons import POLICY_REASONS
from cse_operator.api.reasons import Reason, ReasonFacts

FACTS: Final[dict[Reason, ReasonFacts]] = ENGINE_REASONS | POLICY_REASONS
