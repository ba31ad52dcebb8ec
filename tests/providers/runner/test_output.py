"""What becomes of output that is no short line of text, in the shells that images have."""

import shutil
import sys
from pathlib import Path

import pytest

from cortex.domain.spec import JobSpec
from providers.conformance import eventually
from providers.lines import MAX_LINE, text_of
from tests.providers.runner.conftest import KEY, Container, shell
from tests.support import soon

CRI_LIMIT = 16 * 1024
"""Where containerd, CRI-O and Docker begin to break a line in two; Akash's gateway loses one of
65,536 bytes and all that follow (recordings/akash-gateway/logs-line-65536.json)."""
TOOLS = {
    "all": None,
    "no awk": ("dd", "tr", "sleep"),
    "nothing": (),
}
KEY_TEXT = "-----BEGIN KEY-----\nMIIEvQ\n-----END KEY-----\n"


def python(code: str, **more: object) -> JobSpec:
    return JobSpec.model_validate({"command": [sys.executable, "-Sc", code], **more})


@pytest.fixture(params=list(TOOLS))
def tools(request: pytest.FixtureRequest, container: Container, tmp_path: Path) -> str:
    """What the image has beside its shell; `sh` is that shell."""
    wanted = TOOLS[request.param]
    if wanted is not None:
        place = tmp_path / "bin"
        place.mkdir()
        for name in wanted:
            binary = shutil.which(name)
            assert binary is not None
            (place / name).symlink_to(binary)
        binary = shutil.which(container.shell[0])
        assert binary is not None
        (place / "sh").symlink_to(binary)
        container.path = str(place)
        container.shell = (binary, *container.shell[1:])
    return str(request.param)


class TestLongLines:
    async def test_all_of_a_line_arrives(self, container: Container, tools: str) -> None:
        """At the limit of the network, over it, and letters at every border."""
        code = (
            "import sys; w = sys.stdout.write\n"
            "w('before\\n' + 'x' * 65535 + '\\n' + 'y' * 65536 + '\\n' + 'z' * 200000 + '\\n')\n"
            "w('a' + 'é' * 20000 + '\\n' + '€' * 20000 + '\\n' + '😀' * 20000 + '\\nafter\\n')"
        )
        await container.start(python(code))
        assert (await container.result()).exit_code == 0
        assert max(len(line.encode()) for line in container.raw) < CRI_LIMIT
        expected = ["before", "x" * 65535, "y" * 65536, "z" * 200_000]
        expected += ["a" + "é" * 20_000, "€" * 20_000, "😀" * 20_000, "after"]
        printed = container.texts()
        assert [len(text) for text in printed] == [len(text) for text in expected]
        assert printed == expected

    async def test_ten_megabytes_without_a_newline(self, container: Container) -> None:
        code = (
            "import sys; sys.stdout.write('0123456789' * 1000000); print('after', file=sys.stderr)"
        )
        await container.start(python(code))
        assert (await container.result()).exit_code == 0
        lines = container.log().lines()
        assert [line.text for line in lines if line.stream == "stderr"] == ["after"]
        out = [line.text for line in lines if line.stream == "stdout"]
        assert "".join(out) == "0123456789" * 1_000_000
        assert max(map(len, out)) <= MAX_LINE

    async def test_a_letter_that_is_written_in_two(self, container: Container) -> None:
        await container.start(shell("printf 'a\\303'; sleep 0.2; printf '\\251b\\n'"))
        await container.result()
        assert container.texts() == ["aéb"]


class TestBytes:
    async def test_bytes_that_are_no_text(self, container: Container, tools: str) -> None:
        """They blind no log, end no line, and leave what is text as it is."""
        code = (
            "import sys; w = sys.stdout.buffer.write\n"
            "for n in {*range(256)} - {10, 13}: w(b'%d ' % n + bytes([n]) * 3 + b' end\\n')\n"
            "w(bytes(range(256)) * 700); w(b'\\n \\f\\v\\xc2\\x85\\xe2\\x80\\xa8 \\n\\nlast')"
        )
        await container.start(python(code))
        assert (await container.result()).exit_code == 0
        printed = container.texts()
        data = b"".join(
            b"%d " % n + bytes([n]) * 3 + b" end\n" for n in range(256) if n not in (10, 13)
        )
        data += bytes(range(256)) * 700 + b"\n \f\v\xc2\x85\xe2\x80\xa8 \n\nlast"
        expected = [text_of(raw) for raw in data.split(b"\n")]
        # A shell can hold no NUL; a static busybox has its tools within itself.
        if tools == "nothing" and printed[0] == "0  end":
            expected[0] = "0  end"
        assert printed[-3:] == [" \f\v\x85\u2028 ", "", "last"]
        assert len(printed) == len(expected)
        # How many U+FFFD stand for a broken letter depends on where it was broken.
        for one, other in zip(printed, expected, strict=True):
            assert one.replace("\ufffd", "") == other.replace("\ufffd", "")
        assert printed[:128] == expected[:128]

    async def test_the_command_reads_nothing(self, container: Container) -> None:
        await container.start(shell("cat; echo end"))
        await container.result()
        assert container.texts() == ["end"]


class TestPartialLines:
    async def test_a_prompt_is_seen_at_once(self, container: Container) -> None:
        await container.start(shell("printf 'Name: '; sleep 600"))

        async def started() -> bool:
            return container.log().started_at is not None

        await eventually(started, interval=0.01)

        async def shown() -> bool:
            return [line.text for line in container.log().partials()] == ["Name: "]

        await eventually(shown, timeout=2, what="the prompt")
        await container.kill()

    async def test_a_progress_bar(self, container: Container) -> None:
        """Its states are seen while it runs, not all of them; its last one is the line."""
        script = "for i in 1 2 3 4 5 6 7 8 9 10; do printf '\\r%3d%%' ${i}0; sleep 0.1; done; echo"
        await container.start(shell(f"echo begin; {script}; {{ {script}; }} >&2"))
        states: set[str] = set()

        async def ended() -> bool:
            log = container.log()
            states.update(line.text for line in log.partials())
            return log.result is not None

        await eventually(ended, interval=0.02, what="the end")
        assert container.texts() == ["begin", "100%", "100%"]
        assert len(states) >= 3
        assert len([line for line in container.raw if line[0] in "oe"]) < 15

    async def test_a_bar_that_writes_fast_and_ends_without_a_newline(
        self, container: Container, tools: str
    ) -> None:
        code = "import sys\nfor i in range(100001): sys.stdout.write('%d done\\r' % i)"
        await container.start(python(code))
        await container.result()
        assert container.texts() == ["100000 done"]
        assert sum(map(len, container.raw)) < 100_000 or tools != "all"


class TestOrder:
    async def test_streams_keep_their_order(self, container: Container) -> None:
        """A line that comes after another has been told stands after it."""
        turn = "until [ -e told-$i$1 ]; do sleep 0.01; done"
        script = f"t() {{ {turn}; }}; for i in 1 2 3 4; do echo o$i; t o; echo e$i >&2; t e; done"
        await container.start(shell(script))
        for name in (f"{number}{stream}" for number in range(1, 5) for stream in "oe"):
            await container.says(name[1] + name[0])
            (container.folder / f"told-{name}").touch()
        await container.result()
        assert container.texts() == [f"{s}{i}" for i in range(1, 5) for s in "oe"]

    async def test_both_streams_at_full_speed_mix_no_lines(self, container: Container) -> None:
        script = "seq 1 20000 & seq 1 20000 >&2; wait; head -c 200000 /dev/zero | tr '\\0' x"
        await container.start(shell(script))
        await container.result()
        lines = container.log().lines()
        for stream in ("stdout", "stderr"):
            texts = [line.text for line in lines if line.stream == stream]
            assert texts[:20000] == [str(n) for n in range(1, 20001)]


class TestProcesses:
    @pytest.mark.parametrize("how", ["", "env -i ", "setsid "])
    async def test_a_process_in_the_background_ends_with_the_command(
        self, container: Container, how: str
    ) -> None:
        """Also where a variable of several lines hides the run's mark, or it has none."""
        script = f"{how}sleep 300 & echo bye"
        await container.start(shell(script, env={"A_KEY": KEY_TEXT}))
        with soon(5):
            await container.result()
        assert container.texts() == ["bye"]

    async def test_output_goes_on_where_no_process_can_be_started(
        self, container: Container
    ) -> None:
        """The shell goes on reading by itself: the command is not hit by a broken pipe."""
        code = (
            "import glob, os, signal, sys, time\n"
            "print('first', flush=True); time.sleep(0.3)\n"
            f"mark = b'CORTEX_RUNNER_KEY={KEY}'\n"
            "for path in glob.glob('/proc/[0-9]*'):\n"
            "    try:\n"
            "        own = open(path + '/environ', 'rb').read(), os.readlink(path + '/cwd')\n"
            "        dd = b'\\0bs=15000\\0' in open(path + '/cmdline', 'rb').read()\n"
            "    except OSError: continue\n"
            "    if dd and mark in own[0] and own[1] == os.getcwd(): os.kill(int(path[6:]), 9)\n"
            "time.sleep(0.3); print('second'); print('third')"
        )
        await container.start(python(code))
        assert (await container.result()).exit_code == 0
        assert container.texts() == ["first", "second", "third"]
