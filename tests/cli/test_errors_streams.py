"""Streams that are closed, full or cut short, and what hints look like in odd folders."""

import http.server
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.errors import BadInput
from cli.local import dir_option, how_to_stop
from cli.options import RunOptions
from cli.specfile import parse
from cli.state import State
from cortex.embedded.errors import AlreadyRunning
from cortex.embedded.state import stack_lock

REPO = Path(__file__).parents[2]
CORTEX = f"{shlex.quote(sys.executable)} -m cli.main"
JOB = {
    "id": "job_01j00000000000000000000000",
    "name": "x",
    "owner": "me",
    "state": "running",
    "cost": "0 USD",
    "created_at": "2026-01-01T00:00:00Z",
}
PAGE = json.dumps({"items": [JOB], "next_cursor": None}).encode()


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listener.server_address[1]}"
        listener.shutdown()
        thread.join()


def run(command: str, folder: Path, url: str = "") -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CORTEX_")}
    return subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**clean, "CORTEX_DATA_DIR": str(folder), **({"CORTEX_URL": url} if url else {})},
        timeout=60,
        check=False,
    )


class TestClosed:
    @pytest.mark.parametrize("how", [">&-", ">&- 2>&- <&-"])
    def test_they_lead_nowhere(self, how: str, server: str, tmp_path: Path) -> None:
        done = run(f"{CORTEX} jobs {how}", tmp_path, server)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_the_others_are_as_ever(self, server: str, tmp_path: Path) -> None:
        done = run(f"{CORTEX} jobs 2>&- <&-", tmp_path, server)
        assert done.returncode == 0
        assert "job_01j00000000000000000000000" in done.stdout

    def test_a_message_is_no_output(self, tmp_path: Path) -> None:
        done = run(f"{CORTEX} jobs 2>&-", tmp_path)
        assert (done.returncode, done.stdout) == (3, "")


class TestFull:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize("command", ["config", "--help"])
    def test_is_told(self, command: str, tmp_path: Path) -> None:
        done = run(f"{CORTEX} {command} >/dev/full", tmp_path)
        assert done.returncode == 1
        assert done.stderr == "error: the output cannot be written: No space left on device\n"

    def test_a_reader_that_has_gone(self, tmp_path: Path) -> None:
        done = run(f"{{ {CORTEX} schema; echo $? >&2; }} | true", tmp_path)
        assert done.stderr.strip() in ("0", "1")


class TestHints:
    def test_of_a_folder_with_blanks(self) -> None:
        state = State(data_dir=Path("/tmp/my data"))
        assert dir_option(state) == "--data-dir '/tmp/my data' "
        assert how_to_stop(state) == "`cortex --data-dir '/tmp/my data' down`"

    def test_of_another_server(self) -> None:
        assert dir_option(State(url="http://host:1/a b")) == "--url 'http://host:1/a b' "

    def test_of_a_stack_that_runs_already(self, tmp_path: Path) -> None:
        folder = tmp_path / "my data"
        folder.mkdir()
        hint = f"`cortex --data-dir '{tmp_path}/my data' down` stops it"
        (run_dir := folder / "run").mkdir()
        with stack_lock(run_dir), pytest.raises(AlreadyRunning, match="stops it") as caught:  # noqa: SIM117
            with stack_lock(run_dir):
                pass
        assert hint in str(caught.value)

    def test_of_files(self, tmp_path: Path) -> None:
        file = tmp_path / "two jobs.yaml"
        file.write_text("command: [a]\n---\ncommand: [b]\n")
        with pytest.raises(BadInput) as caught:
            RunOptions(file=str(file)).document()
        assert f"cortex submit '{file}' --wait" in caught.value.details[0]
        with pytest.raises(BadInput) as caught:
            parse("jobs: [{name: a}]\nname: g\n", "my group.yaml")
        assert caught.value.details == ("run it as one: cortex group run 'my group.yaml'",)


class TestNoText:
    """Arguments that are no UTF-8 get an error and no traceback."""

    @pytest.mark.parametrize(
        "command",
        [
            "job \"$(printf '\\351')\"",
            "jobs --name \"$(printf '\\351')\"",
            "run -- \"$(printf '\\351')\"",
        ],
    )
    def test_is_told(self, command: str, server: str, tmp_path: Path) -> None:
        done = run(f"{CORTEX} {command}", tmp_path, server)
        assert done.returncode in (1, 2, 4), done.stderr
        assert done.stderr.startswith("error: "), done.stderr
        assert "Traceback" not in done.stderr
