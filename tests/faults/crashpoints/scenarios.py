"""The lives of jobs whose every boundary is broken, and how each must end."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.faults.books import Books
from tests.faults.crashpoints import lives
from tests.faults.crashpoints.stage import Role, Stage


@dataclass(frozen=True)
class End:
    """How the job of a scenario must end."""

    state: str
    reason: str
    exit_code: int | None = None
    outputs: bool = False
    committed: int | None = 1
    """How many leases went live; None: any number."""
    charged: str | None = None
    """What its bills come to, if somebody decided so; None: what the networks say."""


@dataclass(frozen=True)
class Scenario:
    """One life; it begins with a stage whose worker runs."""

    name: str
    networks: tuple[str, ...]
    play: Callable[[Stage], Awaitable[None]]
    ends: End | None = None
    group: str = ""
    """How its group must end, if it has one."""
    api: bool = False
    victim: Role = "worker"
    settings: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[Stage], Awaitable[None]] | None = None
    """Comes before any process is started."""
    startup: bool = False
    """Whether the start of a worker counts as part of it: once per network is enough."""
    limit: float = 180.0
    """Seconds after which it is stuck: far more than it takes, also where many share a core."""


def wrong_end(scenario: Scenario, stage: Stage, books: Books) -> Iterator[str]:
    """What is not as the scenario demands, beside the invariants."""
    for group in books.groups:
        if group["state"] != scenario.group:
            yield f"the group is {group['state']}, and not {scenario.group}: {group['message']}"
    for path in (stage.folder / "local").glob("job_*"):
        yield f"the local provider still holds {path.name}"
    end = scenario.ends
    if end is None:
        return
    for job in books.jobs:
        told = (job["state"], job["reason"], job["exit_code"])
        if told != (end.state, end.reason, end.exit_code):
            yield f"it ended {told}, and not {(end.state, end.reason, end.exit_code)}"
        live = [row for row in books.leases if row["job_id"] == job["id"] and row["committed_at"]]
        if end.committed is not None and len(live) != end.committed:
            yield f"{len(live)} leases went live, and not {end.committed}"
        bills = [row for row in books.ledger if row["job_id"] == job["id"]]
        booked = [str(row["amount"].normalize()) for row in bills if row["kind"] == "charge"]
        if end.charged is not None and booked != [end.charged]:
            yield f"{booked} are charged, and {end.charged} was decided"
        kept = stage.folder / "data" / "outputs" / job["id"] / "out" / "answer"
        if end.outputs and not (kept.is_file() and kept.read_text() == "42\n"):
            yield "its outputs are gone"


DONE: Final = End("completed", "exited", 0)
WITH_OUTPUTS: Final = End("completed", "exited", 0, outputs=True)

SCENARIOS: Final = (
    Scenario("success on nosana", ("nosana",), lives.plain_success, DONE, startup=True),
    Scenario("success on akash", ("akash",), lives.success, WITH_OUTPUTS, startup=True),
    Scenario("success on golem", ("golem",), lives.success, WITH_OUTPUTS, startup=True),
    Scenario(
        "failure with a retry", ("nosana",), lives.failure, End("failed", "exited", 3, committed=2)
    ),
    Scenario(
        "cancel while it runs",
        ("nosana",),
        lives.cancelled,
        End("cancelled", "cancelled"),
        api=True,
    ),
    Scenario(
        "settled by force",
        ("nosana",),
        lives.settled_by_force,
        End("cancelled", "cancelled", charged="2"),
        api=True,
    ),
    Scenario("extend", ("nosana",), lives.extended, DONE, api=True),
    Scenario("deadline", ("nosana",), lives.out_of_time, End("failed", "deadline_exceeded")),
    Scenario(
        "fail-over: no reservation",
        ("nosana", "akash"),
        lives.plain_success,
        DONE,
        before=lives.nosana_refuses_to_reserve,
    ),
    Scenario(
        "fail-over: no commit",
        ("nosana", "akash"),
        lives.plain_success,
        DONE,
        before=lives.nosana_refuses_to_start,
    ),
    Scenario(
        "fail-over: a dear node on render",
        ("render",),
        lives.plain_success,
        DONE,
        before=lives.render_gives_a_dear_node,
        startup=True,
    ),
    Scenario("success on this machine", (), lives.on_this_machine, WITH_OUTPUTS, startup=True),
    Scenario(
        "lost by its network",
        ("nosana",),
        lives.lost,
        End("completed", "exited", 0, committed=2),
    ),
    Scenario(
        "budget used up",
        ("nosana",),
        lives.over_its_budget,
        End("failed", "over_budget"),
        api=True,
    ),
    Scenario(
        "workflow terminated",
        ("nosana",),
        lives.terminated,
        End("failed", "workflow_gone"),
        settings={"CORTEX_RECONCILE__GRACE": "0s"},
    ),
    Scenario("group of three", lives.TRIO, lives.trio, DONE, group="completed", api=True),
    Scenario(
        "group: the third cannot commit",
        lives.TRIO,
        lives.trio,
        group="failed",
        api=True,
        before=lives.nosana_refuses_to_start,
    ),
    Scenario(
        "cancel, the API dies",
        ("nosana",),
        lives.cancelled,
        End("cancelled", "cancelled"),
        api=True,
        victim="api",
    ),
    Scenario(
        "settled by force, the API dies",
        ("nosana",),
        lives.settled_by_force,
        End("cancelled", "cancelled", charged="2"),
        api=True,
        victim="api",
    ),
)
A_BID: Final = Scenario("a bid on akash", ("akash",), lives.plain_success, DONE)
"""For breaking the protocol on purpose."""
BY_NAME: Final = {scenario.name: scenario for scenario in (*SCENARIOS, A_BID)}
