"""Looks at what the settings name, and ends with 1 on a fault.

`python -m cortex.doctor [--json] [--start COMMAND]`; the command starts a stack that is down.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import Final

from cortex.doctor.checks import examine
from cortex.doctor.findings import Finding, Verdict
from cortex.embedded.config import user_settings
from cortex.embedded.errors import StackError

_WORDS: Final = {
    Verdict.OK: "ok",
    Verdict.WARNING: "warning",
    Verdict.FAULT: "FAULT",
    Verdict.UNKNOWN: "?",
}


def main() -> None:
    try:
        settings = user_settings()
    except StackError as error:
        sys.exit(str(error))
    parser = argparse.ArgumentParser(prog="cortex.doctor")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--start")
    options = parser.parse_args()
    findings = asyncio.run(examine(settings, options.start))
    if options.json:
        lines = [json.dumps(asdict(finding)) for finding in findings]
    else:
        lines = [*_table(findings), "", _sum(findings)]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(any(finding.verdict == Verdict.FAULT for finding in findings))


def _table(findings: list[Finding]) -> list[str]:
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for finding in findings:
        head = f"{_WORDS[finding.verdict]:<8} {finding.name:<{width}}"
        lines.append(f"{head}  {finding.detail}")
        if finding.fix:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.fix}")
    return lines


def _sum(findings: list[Finding]) -> str:
    verdicts = [finding.verdict for finding in findings]
    faults, warnings = verdicts.count(Verdict.FAULT), verdicts.count(Verdict.WARNING)
    if not faults and not warnings:
        return "all is well"
    return f"{_count(faults, 'fault')}, {_count(warnings, 'warning')}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    main()
