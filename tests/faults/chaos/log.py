"""What was done to a system and when, to be read when something has gone wrong."""

import time
from collections import Counter
from datetime import UTC, datetime


class ActionLog:
    """Lines with times, in order."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def note(self, action: str, subject: str, detail: str = "") -> None:
        """Something is done now."""
        self.counts[action] += 1
        passed = time.monotonic() - self._began
        now = datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]
        self.lines.append(f"{now} +{passed:7.2f} s  {action:<10} {subject} {detail}".rstrip())
