"""Any document: the CLI and the API take it with the same specs, or both refuse it, and soon.

`FUZZ_DOCUMENTS=100000 pytest tests/cli/test_specfile_fuzz.py` tries so many of each kind, other
ones each time; without it a hundred, always the same.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.bodies import parse_body
from cli.errors import BadInput
from cli.groupfile import checked
from cli.specfile import parse, parse_whole
from cortex.documents import Malformed, read_json
from cortex.domain.errors import CortexError
from cortex.domain.groups.expand import GroupSpec, expand
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import BatchRequest
from cortex.services.jobs.admission import check_words
from tests.cli.fuzz_documents import ANYTHING, groups, jobs, json_jobs

LIMIT = 5.0
"""Seconds of processor time for one document."""

_WANTED = os.environ.get("FUZZ_DOCUMENTS")
FUZZ = settings(
    max_examples=int(_WANTED or 100),
    deadline=None,
    database=None,
    derandomize=_WANTED is None,
    # What fails is small already, and making it smaller takes long.
    phases=[Phase.explicit, Phase.generate] if _WANTED is None else list(Phase),
    suppress_health_check=list(HealthCheck),
)
# Each reading has a limit of its own.
pytestmark = pytest.mark.timeout(900 if _WANTED is None else 0)
M = TypeVar("M", bound=BaseModel)
Taken = list[dict[str, Any]] | None
"""The specs that a document gives; None: it is refused."""

tried = 0


class Hang(BaseException):
    """Reading takes too long."""


@contextmanager
def limited() -> Iterator[None]:
    """Fail if it takes more processor time than the limit."""
    global tried
    tried += 1

    def ring(signum: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    try:
        yield
    except Hang:
        pytest.fail(f"not read within {LIMIT} s")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def shown(spec: JobSpec) -> dict[str, Any]:
    return {**spec.model_dump(), "secret_env": spec.secrets()}


def refused(*texts: str, status: int = 400) -> None:
    """An error is the user's, and quotes no secret."""
    assert 400 <= status < 500
    assert "hunter2" not in " ".join(texts)


def by_cli(text: str) -> Taken:
    try:
        return [shown(document.spec()) for document in parse(text, "f.yaml")]
    except BadInput as error:
        refused(error.message, *error.details)
        return None


def by_api(text: str, *, is_yaml: bool) -> Taken:
    """As a job, or as a batch."""
    for model, specs in ((JobSpec, lambda one: [one]), (BatchRequest, lambda all_: all_.jobs)):
        body = _by_api(text, model, is_yaml=is_yaml)
        if body is not None:
            try:
                for spec in specs(body):
                    check_words(spec)
            except CortexError:
                return None
            return [shown(spec) for spec in specs(body)]
    return None


def group_by_cli(text: str) -> list[Any] | None:
    """The members of a group with their specs; None: it is refused."""
    try:
        members = checked(parse_whole(text.encode(), "g.yaml", GroupSpec))[2]
    except BadInput as error:
        refused(error.message, *error.details)
        return None
    return [(member.name, shown(member.spec)) for member in members]


def _by_api(text: str, model: type[M], *, is_yaml: bool) -> M | None:
    try:
        return parse_body(text.encode(), model, "the body", is_yaml=is_yaml).model
    except CortexError as error:
        refused(error.detail, *map(str, error.errors), status=error.status_code)
        return None


def agree(text: str) -> None:
    with limited():
        cli = by_cli(text)
        api = by_api(text, is_yaml=True)
    if cli is not None and api is None and _only_the_cli_takes(text):
        return
    assert cli == api


def _only_the_cli_takes(text: str) -> bool:
    """Several documents, which are several requests to the API."""
    return len(parse(text, "f.yaml")) > 1 and "---" in text


def encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fuzz(
    documents: st.SearchStrategy[str],
) -> Callable[[Callable[[str], None]], Callable[[], None]]:
    def wrap(test: Callable[[str], None]) -> Callable[[], None]:
        return FUZZ(given(text=documents.filter(encodable))(test))

    return wrap


@fuzz(jobs())
def test_job_files(text: str) -> None:
    agree(text)


@fuzz(ANYTHING)
def test_any_text(text: str) -> None:
    agree(text)


@fuzz(json_jobs())
def test_json(text: str) -> None:
    agree(text)
    try:
        read_json(text.encode())
    except Malformed:
        assert by_api(text, is_yaml=False) is None
        return
    with limited():
        assert by_cli(text) == by_api(text, is_yaml=False)


@fuzz(groups())
def test_group_files(text: str) -> None:
    with limited():
        cli = group_by_cli(text)
        body = _by_api(text, GroupSpec, is_yaml=True)
        api: list[Any] | None = None
        try:
            if body is not None:
                api = [(member.name, shown(member.spec)) for member in expand(body)]
        except CortexError:
            pass
    assert cli == api


@pytest.mark.parametrize(
    ("documents", "taken"),
    [(jobs(), by_cli), (json_jobs(), by_cli), (groups(), group_by_cli)],
    ids=["jobs", "json", "groups"],
)
def test_the_generators_make_what_is_taken_too(
    documents: st.SearchStrategy[str], taken: Callable[[str], object]
) -> None:
    """A fuzz of documents that are all refused would show nothing.

    About one in six is taken; they come in clusters, which a name in this function shuffles.
    """
    verdicts: list[bool] = []

    @settings(FUZZ, max_examples=300, phases=[Phase.generate])
    @given(text=documents.filter(encodable))
    def look(text: str) -> None:
        verdicts.append(taken(text) is not None)

    look()
    assert sum(verdicts) > len(verdicts) / 20


@pytest.mark.skipif(_WANTED is None, reason="a count is for long runs")
def test_count(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{tried:,} readings of documents within {LIMIT} s each")  # noqa: T201
    assert tried
