"""Simulated leases truly run their commands, and outlive the simulator's process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from providers.conformance import eventually
from simulators.kit.runs import Runs, RunView, pullable


@pytest_asyncio.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    made = Runs(tmp_path / "runs")
    await made.start_up()
    yield made
    for run_id in ("one", "a/b c"):
        await made.remove(run_id)
    await made.aclose()


async def ended(runs: Runs, run_id: str) -> RunView:
    async def over() -> RunView | None:
        view = await runs.state(run_id)
        return view if view is not None and view.finished_at else None

    reached = await eventually(over)
    assert reached is not None
    return reached


async def says(runs: Runs, run_id: str, text: str) -> None:
    async def said() -> bool:
        return text in [line.text for line in await runs.lines(run_id)]

    await eventually(said)


class TestRuns:
    async def test_variables_of_job_and_network_may_be_more_than_a_spec_takes(
        self, runs: Runs
    ) -> None:
        env = {"B": "x" * 65_500, "C": "y" * 65_500, "NETWORK": "z" * 1_000}
        await runs.start("one", ["sh", "-c", "echo ${#B} ${#C} ${#NETWORK}"], env)
        assert (await ended(runs, "one")).exit_code == 0
        assert [line.text for line in await runs.lines("one")] == ["65500 65500 1000"]

    async def test_a_run_has_output_and_an_end(self, runs: Runs) -> None:
        await runs.start("a/b c", ["sh", "-c", 'echo "$X"; echo err >&2; exit 3'], {"X": "1"})
        view = await ended(runs, "a/b c")
        assert (view.state, view.exit_code) == ("exited", 3)
        lines = [(line.stream, line.text) for line in await runs.lines("a/b c")]
        assert sorted(lines) == [("stderr", "err"), ("stdout", "1")]

    async def test_starting_again_changes_nothing(self, runs: Runs) -> None:
        for _ in range(3):
            await runs.start("one", ["sh", "-c", "echo ran >> file"], {})
        await ended(runs, "one")
        assert (runs.folder("one") / "file").read_text() == "ran\n"

    async def test_an_unknown_run_is_none(self, runs: Runs) -> None:
        assert await runs.state("one") is None
        assert await runs.lines("one") == []
        await runs.stop("one")

    async def test_a_signal_reaches_the_main_process(self, runs: Runs) -> None:
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
        await runs.start("one", ["sh", "-c", script], {})
        await says(runs, "one", "ready")
        await runs.signal("one", "TERM")
        assert (await ended(runs, "one")).exit_code == 4

    async def test_a_command_inside(self, runs: Runs) -> None:
        await runs.start("one", ["sh", "-c", "echo data > file; echo ready; sleep 60"], {})
        await says(runs, "one", "ready")
        done = await runs.execute("one", ["cat", "file", "-"], stdin=b"more")
        assert (done.exit_code, done.stdout) == (0, b"data\nmore")
        assert (await runs.execute("one", ["no-such-program"])).exit_code == 127
        assert (await runs.execute("one", ["sleep", "9"], timeout=0.2)).exit_code == 137

    async def test_another_process_finds_it(self, runs: Runs, tmp_path: Path) -> None:
        await runs.start("one", ["sh", "-c", "echo ready; sleep 60"], {})
        await says(runs, "one", "ready")
        other = Runs(tmp_path / "runs")
        await other.start_up()

        async def running() -> bool:
            view = await other.state("one")
            return view is not None and view.state == "running"

        await eventually(running, what="the run")
        await other.stop("one")
        assert (await ended(runs, "one")).state == "exited"
        await other.aclose()

    async def test_nothing_is_left_after_removal(self, runs: Runs) -> None:
        await runs.start("one", ["true"], {})
        await ended(runs, "one")
        await runs.remove("one")
        assert await runs.state("one") is None
        assert not runs.folder("one").exists()

    @pytest.mark.parametrize(("image", "can"), [("busybox:1.36", True), ("no-such/image", False)])
    def test_some_images_cannot_be_pulled(self, image: str, can: bool) -> None:
        assert pullable(image) is can
