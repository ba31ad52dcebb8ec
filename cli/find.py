"""From what people type to a job: its id, its name if there is one such job, or `@last`."""

import re
from collections.abc import Sequence

from cli.errors import CliError, ExitCode
from cortex.client import Cortex, GroupFilter, JobFilter
from cortex.schemas.groups import GroupSummary
from cortex.schemas.jobs import JobSummary, JobView

_GROUP_ID = re.compile(r"grp_[0-9a-z]{26}")
_ID = re.compile(r"job_[0-9a-z]{26}")


def find_job(cortex: Cortex, text: str) -> JobView:
    """The job that is meant.

    Raises:
        CliError: there is none, or more than one.
        ApiError: there is no job with this id.
    """
    return cortex.job(find_id(cortex, text))


def find_id(cortex: Cortex, text: str) -> str:
    """Its id; one that has the form of an id is not looked up."""
    if _ID.fullmatch(text):
        return text
    if text == "@last":
        return _only(cortex.jobs(limit=1).items, "there are no jobs yet")
    named = cortex.jobs(JobFilter(name=text), limit=5).items
    if len(named) > 1:
        ids = [f"{job.id}  {job.state.value}" for job in named]
        raise CliError(
            f"several jobs have the name `{text}`: give the id of one",
            details=ids,
            code="ambiguous",
            exit_code=ExitCode.BAD_INPUT,
        )
    return _only(
        named, f"there is no job with the id or name `{text}`; `cortex jobs` lists those there are"
    )


def find_group(cortex: Cortex, text: str) -> str:
    """The id of the group that is meant: by its id, its name if there is one such group, `@last`.

    Raises:
        CliError: there is none, or more than one.
    """
    if _GROUP_ID.fullmatch(text):
        return text
    if text == "@last":
        return _only(cortex.groups(limit=1).items, "there are no groups yet")
    named = cortex.groups(GroupFilter(name=text), limit=5).items
    if len(named) > 1:
        raise CliError(
            f"several groups have the name `{text}`: give the id of one",
            details=[f"{group.id}  {group.state.value}" for group in named],
            code="ambiguous",
            exit_code=ExitCode.BAD_INPUT,
        )
    otherwise = f"there is no group with the id or name `{text}`; `cortex group list` lists them"
    return _only(named, otherwise)


def _only(named: Sequence[JobSummary | GroupSummary], otherwise: str) -> str:
    if not named:
        raise CliError(otherwise, code="not_found", exit_code=ExitCode.NOT_FOUND)
    return named[0].id
