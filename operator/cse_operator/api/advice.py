"""What to write instead of a text that does not match its pattern.

A pattern alone tells people little. The API server and `cse-operator plan` say these sentences.
"""

from __future__ import annotations

from typing import Final

from cse_operator.api import duration
from cse_operator.api.patterns import CRON_PATTERN, REGION_PATTERN, ZONE_PATTERN

ADVICE: Final = {
    REGION_PATTERN: "write a region such as cn-north-4",
    duration.PATTERN: "write hours, minutes and seconds, such as 90m or 24h: there is no unit d",
    CRON_PATTERN: "write five cron fields in upper case, such as 0 2 * * SAT; minute and hour are "
    "numbers",
    ZONE_PATTERN: "use UTC or an IANA name such as Asia/Shanghai",
}
"""A sentence for each pattern of which one line of a regular expression is no help."""
