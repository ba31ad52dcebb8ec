"""Times as people give them: how long ago, a date, or a date with a time."""

from datetime import datetime

from cli.errors import BadInput
from cortex.domain.units import parse_duration


def since(text: str | None, option: str) -> datetime | None:
    """`2h` (ago), `2026-01-31` or `2026-01-31T12:00`; local time unless it says otherwise.

    Raises:
        BadInput: it is none of these.
    """
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.now().astimezone() - parse_duration(text)
    except (ValueError, OverflowError):
        raise BadInput(
            f"{option} `{text[:60]}`: write how long ago (`90s`, `2h`, `7d`), "
            "or a time such as `2026-01-31` or `2026-01-31T12:00`"
        ) from None
