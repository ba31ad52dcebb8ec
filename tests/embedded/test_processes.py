import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cortex.embedded.leftovers import stop_leftovers
from cortex.embedded.processes import ProcessMark, end_process


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)", "marked"], start_new_session=True
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def stubborn() -> Iterator[subprocess.Popen[bytes]]:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{code}; time.sleep(300)"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


class TestProcessMark:
    def test_finds_the_process_again(
        self, sleeper: subprocess.Popen[bytes], tmp_path: Path
    ) -> None:
        ProcessMark.of(sleeper.pid, "marked").write(tmp_path / "it.pid")
        mark = ProcessMark.read(tmp_path / "it.pid")
        assert mark is not None
        process = mark.find()
        assert process is not None
        assert process.pid == sleeper.pid

    def test_another_process_with_the_pid_is_not_it(self, sleeper: subprocess.Popen[bytes]) -> None:
        mark = ProcessMark.of(sleeper.pid, "marked")
        assert replace(mark, created=mark.created - 60).find() is None
        assert replace(mark, marker="postgres").find() is None

    def test_ended_process_is_not_found(self, sleeper: subprocess.Popen[bytes]) -> None:
        mark = ProcessMark.of(sleeper.pid, "marked")
        sleeper.kill()
        sleeper.wait()
        assert mark.find() is None

    @pytest.mark.parametrize("content", ["", "{", "17", '{"pid": 1}'])
    def test_broken_file_is_no_mark(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "it.pid").write_text(content)
        assert ProcessMark.read(tmp_path / "it.pid") is None


class TestLeftovers:
    async def test_a_stranger_with_a_recorded_pid_is_left_alone(
        self, sleeper: subprocess.Popen[bytes], tmp_path: Path
    ) -> None:
        mark = ProcessMark.of(sleeper.pid, "marked")
        replace(mark, created=mark.created - 60).write(tmp_path / "api.pid")
        assert await stop_leftovers(tmp_path) == []
        assert sleeper.poll() is None
        assert not leftover_files(tmp_path)

    async def test_ours_is_ended(self, sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
        ProcessMark.of(sleeper.pid, "marked").write(tmp_path / "api.pid")
        assert await stop_leftovers(tmp_path) == ["api"]
        assert sleeper.wait(5) == -signal.SIGTERM

    async def test_stubborn_one_is_killed(self, stubborn: subprocess.Popen[bytes]) -> None:
        await end_process(psutil.Process(stubborn.pid), ((signal.SIGTERM, 0.2),))
        assert stubborn.wait(5) == -signal.SIGKILL


def leftover_files(run_dir: Path) -> list[Path]:
    return list(run_dir.glob("*.pid"))
