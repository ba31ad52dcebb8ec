"""The output of a group's members; with more than one, each line begins with its member's name."""

import asyncio

from cli import render
from cli.lines import print_line
from cli.state import State
from cortex.client import AsyncCortex, Cortex
from cortex.schemas.groups import MemberView
from cortex.schemas.jobs import LogEntry


def print_logs(
    state: State, cortex: Cortex, members: list[MemberView], tail: int | None, *, named: bool
) -> None:
    """What is there now, member by member."""
    for member in members:
        for line in cortex.logs(member.id, tail=tail):
            _print_of(state, line, member.member if named else None)


async def follow_logs(
    state: State, members: list[MemberView], tail: int | None, *, named: bool
) -> None:
    """All of them at once, until they have ended."""
    async with state.aclient() as cortex, asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(_follow_one(state, cortex, member, tail, named=named))


async def _follow_one(
    state: State, cortex: AsyncCortex, member: MemberView, tail: int | None, *, named: bool
) -> None:
    async for line in cortex.logs(member.id, follow=True, tail=tail):
        _print_of(state, line, member.member if named else None)


def _print_of(state: State, line: LogEntry, member: str | None) -> None:
    if state.json:
        print(render.to_json({"member": member, **line.model_dump(mode="json")}), flush=True)
    elif member is None:
        print_line(line)
    else:
        print_line(line.model_copy(update={"text": f"{member} | {line.text}"}))
