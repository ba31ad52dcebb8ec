"""Log frames: records, lines, cursors; checked against every way to cut and to resume."""

import random

import pytest
from pydantic import SecretStr, ValidationError

from providers.base import LogLine
from providers.docker.config import DockerConfig, RegistryAuth
from providers.docker.frames import Cursor, LogDecoder, Stream
from providers.docker.images import (
    PullProgress,
    auth_header,
    json_items,
    pull_error,
    registry_of,
    split_reference,
)
from providers.docker.starts import command_exit_code
from providers.docker.wire import parse_time
from providers.errors import NoSuchImage, RateLimited
from providers.lines import MAX_LINE

Record = tuple[Stream, str, bytes]


def frame(record: Record) -> bytes:
    stream, stamp, text = record
    payload = stamp.encode() + b" " + text
    return bytes([2 if stream == "stderr" else 1, 0, 0, 0]) + len(payload).to_bytes(4) + payload


def decode(records: list[Record], cursor: Cursor | None = None) -> list[LogLine]:
    decoder = LogDecoder(cursor or Cursor())
    lines = list(decoder.feed(b"".join(frame(record) for record in records)))
    return lines + list(decoder.flush())


def at(second: int, fraction: str = "") -> str:
    return f"2026-01-02T03:04:{second:02d}{fraction}Z"


RECORDS: list[Record] = [
    ("stdout", at(1), b"one\n"),
    ("stdout", at(1), b"two\n"),
    ("stderr", at(1), b"three\n"),
    ("stdout", at(2), b"begun "),
    ("stderr", at(2), b"meanwhile\n"),
    ("stderr", at(2), b"again\n"),
    ("stdout", at(3), b"and ended\n"),
    ("stdout", at(3), b"\n"),
    # Written later, stamped earlier.
    ("stderr", at(2, ".5"), b"late\n"),
    ("stdout", at(4, ".123456789"), b"four\r\n"),
    ("stdout", at(4, ".123456789"), b"\xff\xfe\x00\n"),
    ("stderr", at(5), b"no newline"),
]
TEXTS = ["one", "two", "three", "meanwhile", "again", "begun and ended", "", "late", "four"]
TEXTS += ["\ufffd\ufffd\ufffd", "no newline"]


class TestDecoding:
    def test_lines_in_order(self) -> None:
        lines = decode(RECORDS)
        assert [line.text for line in lines] == TEXTS
        assert lines[8].time.microsecond == 123456
        assert [line.stream for line in lines[:4]] == ["stdout", "stdout", "stderr", "stderr"]

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 64])
    def test_however_the_bytes_are_cut(self, size: int) -> None:
        data = b"".join(frame(record) for record in RECORDS)
        decoder = LogDecoder(Cursor())
        lines: list[LogLine] = []
        for begin in range(0, len(data), size):
            lines += decoder.feed(data[begin : begin + size])
        lines += decoder.flush()
        assert lines == decode(RECORDS)

    def test_resuming_after_each_line_loses_and_repeats_nothing(self) -> None:
        lines = decode(RECORDS)
        for index, line in enumerate(lines):
            rest = decode(RECORDS, Cursor.parse(line.cursor))
            assert rest == lines[index + 1 :]

    def test_resuming_where_the_engine_leaves_the_older_ones_out(self) -> None:
        """The engine begins at `since`, which is in whole seconds."""
        lines = decode(RECORDS)
        for index, line in enumerate(lines):
            cursor = Cursor.parse(line.cursor)
            kept = [
                (stream, stamp, data)
                for stream, stamp, data in RECORDS
                if parse_time(stamp).timestamp() >= cursor.since  # type: ignore[union-attr]
            ]
            assert decode(kept, cursor) == lines[index + 1 :]

    def test_resuming_in_random_logs(self) -> None:
        chance = random.Random(1)
        for _ in range(50):
            second, records = 1, list[Record]()
            for number in range(40):
                second = min(59, second + chance.choice([0, 0, 0, 1, 2]))
                stamp = at(second - chance.choice([0, 0, 0, 1]))
                stream: Stream = chance.choice(["stdout", "stderr"])
                records.append((stream, stamp, b"%d%s" % (number, chance.choice([b"\n", b""]))))
            lines = decode(records)
            for index, line in enumerate(lines[:-2]):
                rest = decode(records, Cursor.parse(line.cursor))
                assert [line.text for line in rest] == [line.text for line in lines[index + 1 :]]

    def test_long_lines_are_given_as_several(self) -> None:
        """Of whole letters, with cursors in between; nothing is lost."""
        text = ("€" * 200_000).encode()
        parts: list[Record] = [
            ("stdout", at(1), text[n : n + 16_384]) for n in range(0, len(text), 16_384)
        ]
        parts.insert(20, ("stderr", at(1), b"meanwhile\n"))
        lines = decode([*parts, ("stdout", at(1), b"\n"), ("stdout", at(1), b"next\n")])
        out = [line.text for line in lines if line.stream == "stdout"]
        assert "".join(out) == "€" * 200_000 + "next"
        assert len(out) == 4
        assert max(len(text.encode()) for text in out) <= MAX_LINE

    def test_a_record_that_no_engine_writes(self) -> None:
        (one,) = decode([("stdout", at(1), b"y" * 1_000_000 + b"\n")])
        assert one.text.startswith("y" * MAX_LINE)
        assert one.text.endswith("[cortex: 737813 bytes more in this line]")

    def test_of_a_progress_bar_the_last_state_is_the_line(self) -> None:
        """And a resumed reader begins with that state, not with the first one."""
        bar: list[Record] = [("stderr", at(n % 50), b"%d%%\r" % n) for n in range(40)]
        records = [*bar[:39], ("stdout", at(39), b"out\n"), bar[39], ("stderr", at(39), b"\n")]
        lines = decode(records)
        assert [line.text for line in lines] == ["out", "39%"]
        assert Cursor.parse(lines[0].cursor).since >= 36
        assert [line.text for line in decode(records, Cursor.parse(lines[0].cursor))] == ["39%"]

    def test_an_unknown_cursor_is_the_beginning(self) -> None:
        for text in (None, "", "nonsense", "1.2.3", "1.2/3", "a.b"):
            assert Cursor.parse(text) == Cursor()


class TestTimes:
    def test_engine_times(self) -> None:
        assert parse_time("0001-01-01T00:00:00Z") is None
        assert parse_time("") is None
        time = parse_time("2026-11-24T04:40:33.923936348+01:00")
        assert time is not None
        assert time.isoformat() == "2026-11-24T03:40:33.923936+00:00"


async def _chunks(*chunks: bytes):  # type: ignore[no-untyped-def]
    for chunk in chunks:
        yield chunk


class TestPulls:
    async def test_progress_of_docker_in_few_sentences(self) -> None:
        """Messages as Docker writes them, cut anywhere."""
        data = b'{"status":"Pulling from library/busybox","id":"1.36"}\r\n'
        data += b'{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}\r\n'
        for current in range(0, 1001, 10):
            data += (
                b'{"status":"Downloading","progressDetail":{"current":%d,"total":1000}' % current
            )
            data += b',"progress":"[=> ]","id":"aa"}\r\n'
        data += b'{"status":"Extracting","progressDetail":{"current":1,"total":1000},"id":"aa"}\r\n'
        data += b'{"status":"Pull complete","progressDetail":{},"id":"aa"}\r\n'
        progress, told = PullProgress("busybox"), list[str]()
        pieces = [data[begin : begin + 13] for begin in range(0, len(data), 13)]
        async for parsed in json_items(_chunks(*pieces)):
            text = progress.feed(parsed)
            if text:
                told.append(text)
        assert told[0] == "pulling busybox: 5 %"
        assert told[-1] == "pulling busybox: 100 %"
        assert len(told) == 20

    async def test_an_error_in_the_stream(self) -> None:
        progress = PullProgress("no/such")
        line = b'{"errorDetail":{"message":"manifest unknown"},"error":"manifest unknown"}'
        (status,) = [parsed async for parsed in json_items(_chunks(line))]
        with pytest.raises(NoSuchImage, match="`no/such` does not exist"):
            progress.feed(status)

    def test_errors_are_sorted(self) -> None:
        assert isinstance(pull_error("a", "toomanyrequests: slow down"), RateLimited)
        assert "cannot be pulled" in str(pull_error("a", "dial tcp: lookup: no such host"))
        assert "may not be pulled" in str(pull_error("a", "pull access denied for a"))

    @pytest.mark.parametrize(
        ("image", "parts", "registry"),
        [
            ("busybox", ("busybox", "latest"), "docker.io"),
            ("busybox:1.36", ("busybox", "1.36"), "docker.io"),
            ("a/b:c", ("a/b", "c"), "docker.io"),
            ("127.0.0.1:5000/a", ("127.0.0.1:5000/a", "latest"), "127.0.0.1:5000"),
            ("ghcr.io/a/b@sha256:ab", ("ghcr.io/a/b", "sha256:ab"), "ghcr.io"),
            ("localhost/a:b@sha256:ab", ("localhost/a", "sha256:ab"), "localhost"),
        ],
    )
    def test_references(self, image: str, parts: tuple[str, str], registry: str) -> None:
        assert split_reference(image) == parts
        assert registry_of(image) == registry

    def test_credentials_go_to_their_registry_only(self) -> None:
        auth = RegistryAuth(server="ghcr.io", username="me", password=SecretStr("secret"))
        assert auth_header("ghcr.io/a/b", (auth,))
        assert auth_header("busybox", (auth,)) == {}


class TestStartErrors:
    @pytest.mark.parametrize(
        ("message", "code"),
        [
            ('runc: exec: "x": executable file not found in $PATH: OCI runtime attempted', 127),
            ('exec: "/x": stat /x: no such file or directory: unknown', 127),
            ('runc create failed: exec: "/etc": permission denied: OCI permission denied', 126),
            ('exec: "/etc": is a directory: permission denied: unknown', 126),
            ('exec: "/x.sh": exec format error', 126),
            ('workdir "/no" does not exist on container abc', 127),
            ("error setting rlimit type 7: operation not permitted", None),
            ('exec: "docker-init": executable file not found in $PATH', None),
            ("driver failed programming external connectivity: address already in use", None),
        ],
    )
    def test_whose_fault_it_is(self, message: str, code: int | None) -> None:
        assert command_exit_code(message) == code


class TestConfig:
    def test_forms(self) -> None:
        config = DockerConfig.model_validate(
            {
                "ulimits": {"nofile": "1024:4096", "nproc": 512},
                "log_max_size": "8Mi",
                "stop_grace": "3s",
                "registries": [{"username": "me", "password": "secret"}],
                "gpu_models": ["A100"],
            }
        )
        assert (config.ulimits["nofile"].soft, config.ulimits["nofile"].hard) == (1024, 4096)
        assert config.ulimits["nproc"].hard == 512
        assert config.gpu_models == ("a100",)
        assert "secret" not in repr(config)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"privileged": True},
            {"cap_add": ["ALL"]},
            {"network": "mynet"},
            {"ulimits": {"nofile": "many"}},
            {"namespace": "Not A Name"},
        ],
    )
    def test_what_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            DockerConfig.model_validate(wrong)
