"""Group files and the view of a running group."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.errors import BadInput
from cli.group_view import show_end, show_validation
from cli.groupfile import load_group, placed
from cli.groups import Progress, bar, counted
from cli.state import State
from cortex.client import ApiError
from cortex.domain.states import JobState
from cortex.schemas.events import EventView
from cortex.schemas.groups import GroupValidation, GroupView
from cortex.schemas.server import Problem
from tests.support.command import cortex

EXAMPLES = Path(__file__).parents[2] / "examples"
STATE = State(color=False)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def written(folder: Path, text: str) -> str:
    path = folder / "g.yaml"
    path.write_text(text)
    return str(path)


def refused(folder: Path, text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        load_group(written(folder, text))
    return caught.value


class TestFiles:
    @pytest.mark.parametrize(
        ("name", "members", "gangs"),
        [("group", 3, 1), ("array", 500, 1), ("pipeline", 5, 3), ("batch", 3, 1)],
    )
    def test_examples(self, name: str, members: int, gangs: int) -> None:
        _, _, made = load_group(str(EXAMPLES / f"{name}.yaml"))
        assert len(made) == members
        assert len({member.gang for member in made}) == gangs

    def test_shell_and_awk_keep_their_braces(self) -> None:
        _, _, made = load_group(str(EXAMPLES / "pipeline.yaml"))
        assert "awk -v p=2 '{ sum += $1 ^ p }" in made[2].spec.command[2]

    def test_errors_have_line_and_column(self, tmp_path: Path) -> None:
        text = (
            "name: g\n"
            "jobs:\n"
            "  - name: a\n"
            "    command: [echo]\n"
            "  - name: b\n"
            "    command: [echo, '{x}']\n"
        )
        error = refused(tmp_path, text)
        assert error.message.endswith("g.yaml is no valid group")
        assert error.details[0].endswith(
            "g.yaml:6:5: `jobs[1].command` `{x}` is no placeholder here; known are `{member}`, "
            "`{group}`; for the text itself write `{{x}}`"
        )

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("jobs:\n- name: a\n  command: [x]\n  after: [b]\n", "4:3: `jobs[0].after`"),
            ("jobs: []\n", "1:1: `jobs`"),
            ("colour: 1\njobs:\n- {name: a, command: [x]}\n", "1:1: `colour`"),
            (
                "defaults:\n  duration: soon\njobs:\n- {name: a, command: [x]}\n",
                "2:3: `defaults.duration`",
            ),
        ],
    )
    def test_places(self, tmp_path: Path, text: str, place: str) -> None:
        assert place in refused(tmp_path, text).details[0]

    def test_many_errors_are_not_all_said(self, tmp_path: Path) -> None:
        jobs = "".join(f"- {{name: a{n}, command: x}}\n" for n in range(30))
        error = refused(tmp_path, f"jobs:\n{jobs}")
        assert len(error.details) == 21
        assert error.details[-1] == "and 10 more"

    @pytest.mark.parametrize(
        ("text", "said"), [("- a\n", "holds a list"), ("a: 1\n---\nb: 1\n", "holds 2 documents")]
    )
    def test_something_else(self, tmp_path: Path, text: str, said: str) -> None:
        assert said in refused(tmp_path, text).message

    def test_scenes_are_named_as_seen_from_the_file(self, tmp_path: Path) -> None:
        text = "jobs:\n- {name: a, render: {scene: x.blend, frames: 1}}\n"
        _, _, made = load_group(written(tmp_path, text))
        assert made[0].spec.render is not None
        assert made[0].spec.render.scene == str(tmp_path / "x.blend")

    def test_what_the_server_refuses_is_placed(self, tmp_path: Path) -> None:
        text = "jobs:\n  - name: a\n    command: [x]\n"
        document, _, _ = load_group(written(tmp_path, text))
        problem = Problem.model_validate(
            {
                "title": "t",
                "status": 422,
                "code": "no_provider",
                "detail": "member `a`: no provider can run this job. `local`: is full",
                "errors": [{"field": "jobs[0]", "message": "`a` at local: is full"}],
            }
        )
        error = placed(ApiError(problem), document)
        assert isinstance(error, BadInput)
        assert error.message == "member `a`: no provider can run this job"
        assert error.details[0].endswith("g.yaml:2:5: `jobs[0]` `a` at local: is full")


class TestCommand:
    def test_a_bad_file_is_told_without_a_server(self, tmp_path: Path) -> None:
        path = written(tmp_path, "jobs:\n- {name: a, command: [x], after: [a]}\n")
        done = cortex("group", "run", path, folder=tmp_path)
        assert done.returncode == 2
        assert "`jobs[0].after` `a` cannot need itself" in done.stderr
        done = cortex("group", "validate", path, "--local", "--json", folder=tmp_path)
        assert json.loads(done.stderr)["error"]["code"] == "bad_input"

    def test_validate_without_a_server(self, tmp_path: Path) -> None:
        file = str(EXAMPLES / "array.yaml")
        done = cortex("group", "validate", "--local", file, folder=tmp_path)
        assert (done.returncode, done.stdout) == (0, "`sweep` is valid: 500 member(s)\n")

    def test_no_server(self, tmp_path: Path) -> None:
        for args in (["list"], ["show", "@last"], ["cancel", "@last"], ["logs", "@last"]):
            done = cortex("group", *args, folder=tmp_path)
            assert done.returncode == 3, done.stderr

    def test_unknown_states(self, tmp_path: Path) -> None:
        done = cortex("group", "list", "--state", "odd", folder=tmp_path)
        assert done.returncode == 2
        assert "it is one of pending, preparing, running" in done.stderr


def group(**fields: Any) -> GroupView:
    return GroupView.model_validate(
        {
            "id": "grp_1",
            "name": "g",
            "owner": "local",
            "state": "pending",
            "total": 20,
            "counts": {"pending": 20},
            "cost": {"amount": "0.5", "currency": "USD"},
            "created_at": NOW,
            "updated_at": NOW,
            "spec": {},
            "members": {"items": []},
            **fields,
        }
    )


def event(kind: str, job: int | None = None, **data: Any) -> EventView:
    return EventView(
        id="evt_1",
        type=f"cortex.{kind}",
        subject=f"job_{job}" if job is not None else "grp_1",
        time=NOW,
        cortexposition="1-1",
        cortexjob=f"job_{job}" if job is not None else None,
        data=data,
    )


def told(monkeypatch: pytest.MonkeyPatch, events: list[EventView], **options: Any) -> list[str]:
    """What is printed where there is no terminal, without the times."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with Progress(STATE, group(), **{"every_change": False, **options}) as progress:
        for event in events:
            progress.take(event)
    return [line.partition("  ")[2] for line in out.getvalue().splitlines()]


SUBMITTED = [event("job.submitted", n, member=f"a[{n}]", state="pending") for n in range(20)]


class TestProgress:
    def test_lines_for_what_matters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = [
            *SUBMITTED,
            event("group.state.changed", state="preparing"),
            event("job.state.changed", 1, state="running", message=""),
            event("job.state.changed", 1, state="failed", message="exit code 3"),
            event("group.gang.decided", gang=0, decision="aborted", reason="a[1] failed"),
            event("group.state.changed", state="failed", message="a[1] failed"),
        ]
        assert told(monkeypatch, events) == [
            "group preparing",
            "a[1] failed  exit code 3",
            "gang 0 aborted  a[1] failed",
            "group failed  a[1] failed",
        ]

    def test_a_line_for_every_tenth(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ends = [event("job.state.changed", n, state="completed") for n in range(20)]
        lines = told(monkeypatch, SUBMITTED + ends)
        assert len(lines) == 10
        assert lines[0] == "2 of 20 ended: 2 completed · 18 pending"
        assert lines[-1] == "20 of 20 ended: 20 completed"

    def test_every_change_when_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        events = [*SUBMITTED, event("job.state.changed", 1, state="running", message="")]
        assert told(monkeypatch, events, every_change=True) == ["a[1] running"]

    def test_control_characters_do_not_reach_the_terminal(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events = [*SUBMITTED, event("job.state.changed", 1, state="failed", message="\x1b[2Jx")]
        assert "\x1b" not in told(monkeypatch, events)[0]

    def test_json_is_one_line_an_event(self, capsys: pytest.CaptureFixture[str]) -> None:
        with Progress(State(json=True), group(), every_change=False) as progress:
            progress.take(SUBMITTED[0])
        line = json.loads(capsys.readouterr().out)
        assert line["event"]["data"]["member"] == "a[0]"

    def test_the_bar(self) -> None:
        counts = {JobState.COMPLETED: 250, JobState.FAILED: 1, JobState.RUNNING: 50}
        text = bar(counts, 500, width=20).plain
        assert text == "█" * 11 + "▒" + "░" * 8 + "  251/500"
        ended = {JobState.COMPLETED: 29, JobState.FAILED: 1}
        assert bar(ended, 30, width=40).plain == "█" * 40 + "  30/30"
        assert bar({}, 0, width=4).plain == "░░░░  0/0"
        assert counted(counts) == "250 completed · 1 failed · 50 running"


class TestViews:
    def test_the_end_says_where_to_look(self, capsys: pytest.CaptureFixture[str]) -> None:
        counts = {"completed": 19, "failed": 1}
        show_end(STATE, group(state="failed", counts=counts, message="a[1] failed"))
        said = capsys.readouterr().err
        assert "failed · 19 completed · 1 failed · cost 0.5 USD" in said
        assert "group show grp_1 --state failed" in said

    def test_what_a_file_makes(self, capsys: pytest.CaptureFixture[str]) -> None:
        answer = GroupValidation.model_validate(
            {
                "name": "g",
                "policy": "best_effort",
                "total": 1,
                "gangs": 1,
                "members": [
                    {"member": "z", "name": "z", "gang": 1, "needs": [f"a[{n}]" for n in range(9)]}
                ],
                "most": [{"amount": "3", "currency": "USD"}],
            }
        )
        show_validation(STATE, answer)
        said = capsys.readouterr().out
        assert "a[0], a[1], a[2] and 6 more" in said
        assert "at most 3 USD" in said
