"""Regular expressions of what people write: numbers in a range, durations, sizes, paths.

For JSON Schemas. Written so that Python and ECMA 262 read them alike; without `^` and `$`.
"""

from datetime import timedelta
from typing import Final

_UNITS: Final = (
    ("s", timedelta(seconds=1)),
    ("m", timedelta(minutes=1)),
    ("h", timedelta(hours=1)),
    ("d", timedelta(days=1)),
)
_SIZES: Final = {
    "k|[Kk][Bb]": 10**3,
    "M|[Mm][Bb]": 10**6,
    "G|[Gg][Bb]": 10**9,
    "T|[Tt][Bb]": 10**12,
    "[Kk][Ii][Bb]?": 2**10,
    "[Mm][Ii][Bb]?": 2**20,
    "[Gg][Ii][Bb]?": 2**30,
    "[Tt][Ii][Bb]?": 2**40,
}
_FRACTION: Final = r"(\.[0-9]{1,6})?"

# A part of a path that is not `.`, `..` or empty, and does not begin with a blank.
STEP: Final = r"([^./ \u0000-\u001f][^/\u0000]*|\.[^./\u0000][^/\u0000]*|\.\.[^/\u0000]+)"
ABSOLUTE: Final = rf"(/{STEP})+/?"
RELATIVE: Final = rf"(\./)?{STEP}(/{STEP})*/?"


def between(low: int, high: int) -> str:
    """The whole numbers from `low` to `high`, without leading zeros."""
    if low > high:
        raise ValueError("nothing is between")
    parts: list[str] = []
    start = low
    while start <= high:
        end = _run(start, high)
        parts.append(_same_length(str(start), str(end)))
        start = end + 1
    return f"({'|'.join(parts)})"


def duration(least: timedelta, most: timedelta) -> str:
    """Durations such as `90s`, `10m`, `1.5h`, `1h30m`, `2d`, from one second or more."""
    seconds, limit = round(least.total_seconds()), round(most.total_seconds())
    parts: list[str] = []
    for unit, size in _UNITS:
        whole = round(size.total_seconds())
        low, high = -(-seconds // whole), limit // whole
        if high >= max(low, 1):
            parts.append(f"{between(max(low, 1), high)} *{unit}")
        if high - 1 >= max(low, 1):
            parts.append(rf"{between(max(low, 1), high - 1)}\.[0-9]{{1,6}} *{unit}")
    if seconds == 1:
        parts += _compound(limit)
    return f"({'|'.join(parts)})"


def _compound(limit: int) -> list[str]:
    """`1d12h`, `1h30m`, `1m30s`: parts from the largest to the smallest."""
    hours, minutes = f"{between(1, 23)} *h", f"{between(1, 59)} *m"
    seconds = f"{between(0, 59)} *s"
    smaller = f"( *{between(0, 59)} *m)?( *{seconds})?"
    parts = [f"{minutes} *{seconds}"]
    if limit >= 86_400:
        parts.append(f"{hours}{smaller}")
    if limit >= 2 * 86_400:
        parts.append(f"{between(1, limit // 86_400 - 1)} *d( *{hours})?{smaller}")
    return parts


def size(least: int, most: int) -> str:
    """Sizes such as `512Mi`, `4GB` or `1.5Gi`, and plain numbers of bytes."""
    parts = [between(least, min(most, 10**15))]
    for unit, factor in _SIZES.items():
        low, high = -(-least // factor), most // factor
        if high >= low:
            parts.append(f"{between(low, high)} *({unit})")
        if high - 1 >= max(low, 1):
            parts.append(rf"{between(max(low, 1), high - 1)}\.[0-9]{{1,3}} *({unit})")
    return f"({'|'.join(parts)})"


def cores() -> str:
    """Numbers of cores from 0.01 to 1024, or of thousandths with `m`."""
    hundredths = r"0?\.(0[1-9]|[1-9][0-9]?)[0-9]{0,4}"
    return f"({between(1, 1023)}{_FRACTION}|1024|{hundredths}|{between(10, 1_024_000)}m)"


def _run(start: int, high: int) -> int:
    """The largest number that shares a pattern with `start`: the same digits, then any."""
    end = start
    step = 1
    while True:
        step *= 10
        last = start - start % (step // 10) + step // 10 - 1
        wider = start - start % step + step - 1
        if start % step == 0 and wider <= high and len(str(wider)) == len(str(start)):
            end = wider
            continue
        if start % (step // 10) == 0 and last <= high:
            end = max(end, last)
        return _widen(start, end, step // 10, high)


def _widen(start: int, end: int, step: int, high: int) -> int:
    """Further with the digit before those that may be any."""
    digit = start // step % 10
    while digit < 9 and end + step <= high and len(str(end + step)) == len(str(start)):
        end += step
        digit += 1
    return end


def _same_length(first: str, last: str) -> str:
    """The numbers from one to the other, which differ in one digit and are any after it."""
    pattern = ""
    for number, (one, other) in enumerate(zip(first, last, strict=True)):
        if one == other:
            pattern += one
            continue
        pattern += f"[{one}-{other}]"
        rest = len(first) - number - 1
        return pattern + (f"[0-9]{{{rest}}}" if rest else "")
    return pattern
