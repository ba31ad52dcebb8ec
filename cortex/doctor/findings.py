"""What a check found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, and will not for ever, or not as well as it could."""
    FAULT = "fault"
    UNKNOWN = "unknown"
    """Something else has to be mended before it can be looked at."""


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do (nothing where it is ok)."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


def fine(name: str, detail: str) -> Finding:
    return Finding(name, Verdict.OK, detail)


def warning(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Verdict.WARNING, detail, fix)


def fault(name: str, detail: str, fix: str) -> Finding:
    return Finding(name, Verdict.FAULT, detail, fix)


def unknown(name: str, because: str) -> Finding:
    return Finding(name, Verdict.UNKNOWN, because)


def first_line(error: BaseException) -> str:
    """Of its text, at most 200 characters; its type if it has none."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
