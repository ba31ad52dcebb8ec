"""The clock of a simulated network: it may go wrong, as clocks of real networks do."""

from datetime import UTC, datetime, timedelta


class Clock:
    """The time as this network believes it is."""

    def __init__(self, skew: timedelta = timedelta(0)) -> None:
        self.skew = skew

    def now(self) -> datetime:
        """The network's time, UTC."""
        return datetime.now(UTC) + self.skew

    def unix_ms(self) -> int:
        """The network's time in milliseconds since 1970."""
        return int(self.now().timestamp() * 1000)
