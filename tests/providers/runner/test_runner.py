"""The runner, run by the shells that images have."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sysconfig
import tarfile
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from starlette.responses import Response

from cortex.domain.spec import JobSpec
from providers.conformance import eventually
from providers.errors import Unsuitable
from providers.runner import RunnerUrls, wrap
from providers.runner.wrap import script, token
from simulators.kit.serve import serving
from tests.providers.runner.conftest import KEY, Container, shell
from tests.support import patience


class TestRunner:
    async def test_frames_both_streams_and_tells_the_end(self, container: Container) -> None:
        await container.start(shell("echo a; sleep 0.2; echo b >&2; sleep 0.2; printf c; exit 3"))
        result = await container.result()
        assert result.exit_code == 3
        assert result.started_at is not None
        assert result.finished_at is not None
        lines = container.log().lines()
        assert [(line.stream, line.text) for line in lines] == [
            ("stdout", "a"),
            ("stderr", "b"),
            ("stdout", "c"),
        ]
        assert [line.text for line in container.log().lines(lines[0].cursor)] == ["b", "c"]

    async def test_idles_after_the_end_until_it_is_released(self, container: Container) -> None:
        await container.start(shell("echo done"))
        await container.result()
        process = container.process
        assert process is not None
        assert process.returncode is None
        process.terminate()
        assert await asyncio.wait_for(process.wait(), patience(5)) == 0

    async def test_a_release_while_it_sends_what_came_of_it(self, container: Container) -> None:
        """The signal is not lost: it goes when it has told the end."""
        arrived = asyncio.Event()
        app = FastAPI()

        @app.put("/result")
        async def result(_request: Request) -> Response:
            arrived.set()
            await asyncio.sleep(0.5)
            return Response(status_code=204)

        async with serving(app) as url:
            await container.start(shell("true"), urls=RunnerUrls(result=f"{url}/result"))
            await asyncio.wait_for(arrived.wait(), patience(30))
            assert container.process is not None
            container.process.terminate()
            assert await asyncio.wait_for(container.process.wait(), patience(10)) == 0

    async def test_ends_with_the_command_where_it_need_not_idle(self, container: Container) -> None:
        await container.start(shell("exit 9"), idle=False)
        assert container.process is not None
        assert await asyncio.wait_for(container.process.wait(), patience(10)) == 9

    async def test_the_command_cannot_forge_the_end(self, container: Container) -> None:
        forged = f"c {token(KEY)} end 0 1 none"
        await container.start(shell(f"echo '{forged}'; echo '{forged}' >&2; exit 5"))
        assert (await container.result()).exit_code == 5
        assert sorted(container.texts()) == [forged, forged]

    async def test_what_the_command_forked_ends_with_it(self, container: Container) -> None:
        script = "(while :; do echo tick; sleep 0.1; done) & sleep 0.3; exit 6"
        await container.start(shell(script))
        assert (await container.result()).exit_code == 6
        before = container.texts()
        await asyncio.sleep(0.4)
        assert container.texts() == before

    async def test_runs_of_one_lease_side_by_side_leave_each_other_alone(
        self, container: Container, tmp_path: Path
    ) -> None:
        """As the chunks of a render job do that are given to one machine."""
        (tmp_path / "other").mkdir()
        other = Container(container.shell, tmp_path / "other")
        try:
            await container.start(shell("sleep 1; echo whole; exit 3"))
            await other.start(shell("exit 4"))
            assert (await other.result()).exit_code == 4
            assert (await container.result()).exit_code == 3
            assert container.texts() == ["whole"]
        finally:
            await other.kill()

    async def test_a_signal_reaches_the_command(self, container: Container) -> None:
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
        await container.start(shell(script))
        await container.says("ready")
        assert container.process is not None
        container.process.terminate()
        result = await container.result()
        assert (result.exit_code, result.stopped) == (4, True)
        assert "ended from outside" in result.why_lost
        assert container.texts() == ["ready", "bye"]

    async def test_a_signal_to_all_its_processes_loses_no_output(
        self, container: Container
    ) -> None:
        """The command hears it twice then: itself, and from the runner that hands it on."""
        script = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.1; done"
        await container.start(shell(script))
        await container.says("ready")
        assert container.process is not None
        os.killpg(container.process.pid, signal.SIGTERM)
        assert (await container.result()).exit_code == 4
        assert {*container.texts()} - {"Terminated"} == {"ready", "bye"}
        assert container.texts()[0] == "ready"
        assert not [line for line in container.raw if line.startswith("Terminated")]

    async def test_who_succeeds_in_spite_of_a_signal_has_ended_well(
        self, container: Container
    ) -> None:
        await container.start(shell("trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"))
        await container.says("ready")
        assert container.process is not None
        container.process.terminate()
        result = await container.result()
        assert (result.exit_code, result.stopped, result.why_lost) == (0, False, "")

    async def test_a_command_that_is_killed(self, container: Container) -> None:
        await container.start(shell("echo x; kill -9 $$"))
        assert (await container.result()).exit_code == 137
        assert container.texts() == ["x"]

    async def test_a_command_that_does_not_exist(self, container: Container) -> None:
        await container.start(JobSpec.model_validate({"command": ["/no/such/program"]}))
        assert (await container.result()).exit_code == 127

    async def test_arguments_and_variables_arrive_as_they_are(self, container: Container) -> None:
        spec = JobSpec.model_validate(
            {
                "command": ["sh", "-c", 'printf "%s|" "$@"; echo "$A"; env', "x"],
                "args": ["a b", "$HOME", "*", ""],
                "env": {"A": "q\"u'o $x"},
            }
        )
        await container.start(spec)
        await container.result()
        texts = container.texts()
        assert texts[0] == "a b|$HOME|*||q\"u'o $x"
        assert not [text for text in texts if text.startswith("CORTEX_RUNNER")]

    async def test_many_lines_arrive_in_order(self, container: Container) -> None:
        await container.start(shell("i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done"))
        await container.result()
        assert container.texts() == [str(i) for i in range(500)]

    async def test_a_restarted_container_does_not_run_it_again(self, container: Container) -> None:
        spec = shell("echo once >> ran; echo one; sleep 600")
        await container.start(spec)

        async def ran() -> bool:
            return container.texts() == ["one"]

        await eventually(ran)
        await container.kill()
        await container.start(spec)
        result = await container.result()
        assert result.interrupted
        assert (container.folder / "ran").read_text() == "once\n"

    async def test_a_kept_folder_tells_all_again(self, container: Container) -> None:
        spec = shell("echo one; echo two >&2; exit 7")
        await container.start(spec, state_dir=str(container.folder / "kept"))
        await container.result()
        before = sorted(container.texts())
        await container.kill()
        await container.start(spec, state_dir=str(container.folder / "kept"))
        again = await container.result()
        assert (again.exit_code, again.interrupted) == (7, False)
        assert sorted(container.texts()) == before

    async def test_the_working_folder_is_made(self, container: Container) -> None:
        place = container.folder / "deep" / "er"
        await container.start(shell("pwd", workdir=str(place)))
        await container.result()
        assert container.texts() == [str(place)]

    async def test_results_and_outputs_are_sent(self, container: Container) -> None:
        bodies: dict[str, bytes] = {}

        app = FastAPI()

        @app.api_route("/{name}", methods=["PUT", "POST"])
        async def sink(name: str, request: Request) -> None:
            bodies[name] = await request.body()

        async with serving(app) as url:
            urls = RunnerUrls(result=f"{url}/result", outputs=f"{url}/outputs")
            spec = shell(
                "mkdir -p out; echo data > 'out/a b.txt'; exit 2", outputs=["out", "missing"]
            )
            await container.start(spec, urls=urls)
            result = await container.result()

            async def told() -> bool:
                return "result" in bodies

            await eventually(told)
        assert result.outputs == "sent"
        assert json.loads(bodies["result"])["exit_code"] == 2
        assert b"out/a b.txt" in bodies["outputs"]

    async def test_files_are_there_before_the_command(
        self, container: Container, tmp_path: Path
    ) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo("in/a.txt")
            entry.size, entry.mode = 4, 0o644
            tar.addfile(entry, io.BytesIO(b"data"))
        app = FastAPI()

        @app.get("/inputs")
        async def source() -> Response:
            return Response(packed.getvalue())

        async with serving(app) as url:
            work = str(tmp_path / "work")
            spec = shell(
                "cat in/a.txt; echo; env | grep -c CORTEX_RUNNER; ls",
                inputs=[{"from": "job_1"}],
                workdir=work,
            )
            await container.start(spec, urls=RunnerUrls(inputs=f"{url}/inputs"))
            await container.result()
        assert container.texts() == ["data", "0", "in"]

    async def test_files_that_do_not_arrive_end_the_job(self, container: Container) -> None:
        spec = shell("echo must not run", inputs=[{"from": "job_1"}])
        await container.start(spec, urls=RunnerUrls(inputs="http://127.0.0.1:1/inputs"))
        assert (await container.result()).exit_code == 126
        assert container.texts() == [
            "the files of the job did not arrive: that needs curl or wget, and tar"
        ]

    async def test_only_the_marks_lie_in_their_folder(self, container: Container) -> None:
        """It may be a few MiB of memory, and the command may have filled it."""
        marks = container.folder / "marks"
        for name in ("code", "pid", "json", "in", "tar"):  # what is written there would fail
            (marks / f".cortex-{KEY}.{name}").mkdir(parents=True)
        await container.start(shell("echo once; exit 7"), marks_dir=str(marks))
        assert (await container.result()).exit_code == 7
        await container.kill()
        await container.start(shell("echo twice"), marks_dir=str(marks))
        assert (await container.result()).exit_code == 7
        assert container.texts() == []


class TestWrap:
    def test_a_command_inside_the_image_cannot_be_wrapped(self) -> None:
        with pytest.raises(Unsuitable, match="command"):
            wrap(JobSpec.model_validate({"image": "busybox"}), KEY)

    def test_secrets_do_not_show(self) -> None:
        spec = JobSpec.model_validate({"command": ["true"], "secret_env": {"A": "s3cret"}})
        assert "s3cret" not in repr(wrap(spec, KEY))


class TestScript:
    def test_shellcheck(self) -> None:
        file = Path(__file__).parents[3] / "providers/runner/runner.sh"
        check = str(Path(sysconfig.get_path("scripts")) / "shellcheck")
        done = subprocess.run([check, "--shell=sh", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout

    def test_it_is_small(self) -> None:
        """It is a word of the command: networks and kernels limit those, 128 KiB at the most."""
        assert len(script()) < 12 * 1024
        assert len(script("room", "handover")) < 16 * 1024

    def test_what_a_network_needs_not_is_left_out(self) -> None:
        assert "take_over" not in script()
        assert "take_over() {" in script("room", "handover")
        assert "send()" in script()
