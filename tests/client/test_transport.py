"""Retries, reconnects and errors, over real sockets."""

import hashlib
import inspect
import json
from datetime import timedelta
from pathlib import Path

import pytest

from cortex.client import (
    ApiError,
    AsyncCortex,
    BadAnswer,
    ClientError,
    ConnectionFailed,
    Cortex,
    DamagedDownload,
    NotConfigured,
    RetryPolicy,
    WaitTimeout,
)
from cortex.client.sse import SseDecoder
from cortex.domain.spec import JobSpec
from cortex.schemas.jobs import OutputView
from tests.client.conftest import QUICK, Stub, reply, stream
from tests.support import soon

INFO = json.dumps({"version": "1", "temporal_ui": "http://ui", "docs": "http://docs"})
JOB = {
    "id": "job_01j00000000000000000000000",
    "name": "x",
    "owner": "me",
    "state": "running",
    "cost": "0 USD",
    "created_at": "2026-01-01T00:00:00Z",
    "spec": {"command": ["true"]},
}
BUSY = reply(
    503,
    json.dumps({"title": "away", "status": 503, "code": "database_unavailable", "detail": "away"}),
    kind="application/problem+json",
    headers="retry-after: 0\r\n",
)
JOB_ID = str(JOB["id"])


def client(stub: Stub) -> Cortex:
    return Cortex(stub.url, "key", retry=QUICK, stream_retry=QUICK)


def problem(status: int, code: str) -> bytes:
    body = {
        "title": "No",
        "status": status,
        "code": code,
        "detail": "it is so",
        "errors": [{"field": "name", "message": "is wrong"}],
    }
    return reply(status, json.dumps(body), kind="application/problem+json")


def event(position: str, text: str = "x") -> str:
    body = {
        "id": f"evt_{position}",
        "type": "cortex.job.progress",
        "subject": JOB_ID,
        "time": "2026-01-01T00:00:00Z",
        "cortexposition": position,
        "data": {"text": text},
    }
    data = json.dumps(body, ensure_ascii=False)
    return f"event: cortex.job.progress\nid: {position}\ndata: {data}\n\n"


END = 'event: end\ndata: {"state": "completed"}\n\n'


class TestCalls:
    def test_sends_the_key_and_parses_the_answer(self, stub: Stub) -> None:
        stub.replies = [reply(200, INFO)]
        with client(stub) as cortex:
            assert cortex.info().version == "1"
        assert stub.seen[0].headers["authorization"] == "Bearer key"

    def test_a_lost_connection_and_a_503_are_tried_again(self, stub: Stub) -> None:
        stub.replies = [None, BUSY, reply(200, INFO)]
        with client(stub) as cortex:
            cortex.info()
        assert len(stub.seen) == 3

    def test_submit_repeats_with_the_same_idempotency_key(self, stub: Stub) -> None:
        stub.replies = [None, BUSY, reply(202, json.dumps(JOB))]
        with client(stub) as cortex:
            job = cortex.submit({"command": ["true"], "duration": timedelta(minutes=5)})
        assert job.id == JOB_ID
        keys = {request.headers["idempotency-key"] for request in stub.seen}
        assert len(stub.seen) == 3
        assert len(keys) == 1
        assert json.loads(stub.seen[0].body) == {"command": ["true"], "duration": "5m"}

    def test_submit_sends_secrets_in_clear_and_only_what_was_set(self, stub: Stub) -> None:
        stub.replies = [reply(202, json.dumps(JOB))]
        spec = JobSpec.model_validate({"command": ["true"], "secret_env": {"TOKEN": "s3cret"}})
        with client(stub) as cortex:
            cortex.submit(spec)
        sent = json.loads(stub.seen[0].body)
        assert sent == {"command": ["true"], "secret_env": {"TOKEN": "s3cret"}}

    def test_extend_is_repeated_with_the_same_key(self, stub: Stub) -> None:
        stub.replies = [None, reply(202, json.dumps(JOB))]
        with client(stub) as cortex:
            cortex.extend(JOB_ID, "30m")
        first, second = (seen.headers["idempotency-key"] for seen in stub.seen)
        assert first == second

    def test_what_may_have_arrived_is_not_repeated(self, stub: Stub) -> None:
        stub.replies = [None, reply(204, "")]
        with client(stub) as cortex, pytest.raises(ConnectionFailed, match="may have been carried"):
            cortex.delete_provider("mine")
        assert len(stub.seen) == 1

    def test_gives_up_and_shows_the_problem(self, stub: Stub) -> None:
        stub.replies = [BUSY]
        with client(stub) as cortex, pytest.raises(ApiError) as caught:
            cortex.info()
        assert caught.value.code == "database_unavailable"
        assert len(stub.seen) == QUICK.attempts

    def test_a_refusal_is_not_repeated(self, stub: Stub) -> None:
        stub.replies = [problem(422, "invalid_request")]
        with client(stub) as cortex, pytest.raises(ApiError, match="it is so") as caught:
            cortex.submit({})
        assert (caught.value.status, caught.value.code) == (422, "invalid_request")
        assert caught.value.errors[0].field == "name"
        assert len(stub.seen) == 1

    def test_an_error_that_is_no_problem_document(self, stub: Stub) -> None:
        stub.replies = [reply(404, "<html>", kind="text/html")]
        with client(stub) as cortex, pytest.raises(ApiError) as caught:
            cortex.info()
        assert caught.value.code == "http_404"

    def test_something_else_answers(self, stub: Stub) -> None:
        stub.replies = [reply(200, "<html>", kind="text/html")]
        with client(stub) as cortex, pytest.raises(BadAnswer, match="check the URL"):
            cortex.info()

    def test_health_503_is_an_answer(self, stub: Stub) -> None:
        body = {"status": "unavailable", "checks": [{"name": "database", "ok": False}]}
        stub.replies = [reply(503, json.dumps(body))]
        with client(stub) as cortex:
            assert cortex.health().status == "unavailable"

    def test_nothing_listens(self) -> None:
        nowhere = Cortex("http://127.0.0.1:1", "k", retry=QUICK)
        with nowhere, pytest.raises(ConnectionFailed, match="nothing listens") as caught:
            nowhere.info()
        assert caught.value.url == "http://127.0.0.1:1"


class TestStreams:
    def test_reconnects_without_loss_or_duplicate(self, stub: Stub) -> None:
        stub.replies = [
            stream(event("1-1") + event("1-2") + "id: 1-3\ndata: {cut o"),
            BUSY,
            None,
            stream(": keep-alive\n\n" + event("1-3", "a\u2028b")),
            stream(event("1-4") + END),
        ]
        with client(stub) as cortex:
            got = list(cortex.events(JOB_ID, follow=True))
        assert [event.cortexposition for event in got] == ["1-1", "1-2", "1-3", "1-4"]
        assert got[2].data == {"text": "a\u2028b"}
        resumed = [request.headers.get("last-event-id") for request in stub.seen]
        assert resumed == [None, "1-2", "1-2", "1-2", "1-3"]

    async def test_async_does_the_same(self, stub: Stub) -> None:
        stub.replies = [stream(event("1-1")), None, stream(event("1-2") + END)]
        async with AsyncCortex(stub.url, "k", stream_retry=QUICK) as cortex:
            got = [event.cortexposition async for event in cortex.events(JOB_ID, follow=True)]
        assert got == ["1-1", "1-2"]

    def test_a_log_stream_resumes_by_cursor_and_not_by_tail(self, stub: Stub) -> None:
        def line(cursor: str) -> str:
            body = {
                "cursor": cursor,
                "time": "2026-01-01T00:00:00Z",
                "attempt": 1,
                "stream": "stdout",
                "text": cursor,
            }
            return f"event: line\nid: {cursor}\ndata: {json.dumps(body)}\n\n"

        stub.replies = [stream(line("1:1")), stream(line("1:2") + END)]
        with client(stub) as cortex:
            got = [line.text for line in cortex.logs(JOB_ID, follow=True, tail=5)]
        assert got == ["1:1", "1:2"]
        assert "tail=5" in stub.seen[0].target
        assert "tail" not in stub.seen[1].target
        assert stub.seen[1].headers["last-event-id"] == "1:1"

    def test_a_place_named_before_the_first_event_is_kept(self, stub: Stub) -> None:
        stub.replies = [stream("id: 7-7\n\n"), stream(END)]
        with client(stub) as cortex:
            assert list(cortex.events(follow=True, start="now")) == []
        assert "from=now" in stub.seen[0].target
        assert "from" not in stub.seen[1].target
        assert stub.seen[1].headers["last-event-id"] == "7-7"

    def test_gives_up_after_too_many_failures_in_a_row(self, stub: Stub) -> None:
        stub.replies = [stream(event("1-1")), None]
        with client(stub) as cortex, pytest.raises(ConnectionFailed):
            list(cortex.events(JOB_ID, follow=True))

    def test_an_unknown_job_ends_it_at_once(self, stub: Stub) -> None:
        stub.replies = [problem(404, "not_found")]
        with client(stub) as cortex, pytest.raises(ApiError):
            list(cortex.logs("job_x", follow=True))
        assert len(stub.seen) == 1

    def test_no_event_stream(self, stub: Stub) -> None:
        stub.replies = [reply(200, "{}")]
        with client(stub) as cortex, pytest.raises(BadAnswer):
            list(cortex.events(JOB_ID, follow=True))

    def test_decoder_takes_any_cut(self) -> None:
        whole = (event("1-1", "ä\r") + ": x\n\n" + END).replace("\n", "\r\n").encode()
        for size in (1, 2, 7, len(whole)):
            decoder = SseDecoder()
            parts = [whole[at : at + size] for at in range(0, len(whole), size)]
            events = [event for part in parts for event in decoder.feed(part)]
            assert [event.event for event in events] == ["cortex.job.progress", "end"]
            assert events[0].id == "1-1"


class TestWait:
    def test_ends_with_the_job(self, stub: Stub) -> None:
        done = json.dumps({**JOB, "state": "completed", "exit_code": 0})
        stub.replies = [reply(200, json.dumps(JOB)), stream(event("1-1") + END), reply(200, done)]
        with client(stub) as cortex:
            assert cortex.wait(JOB_ID, timeout=20).exit_code == 0

    def test_time_is_up(self, stub: Stub) -> None:
        stub.replies = [reply(200, json.dumps(JOB))]
        with client(stub) as cortex, soon(3), pytest.raises(WaitTimeout) as caught:
            cortex.wait(JOB_ID, timeout=0)
        assert caught.value.job.id == JOB_ID


class TestDownload:
    CONTENT = b"0123456789" * 100

    def output(self, content: bytes, path: str = "a/result.txt") -> OutputView:
        return OutputView.model_validate(
            {
                "path": path,
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "attempt": 1,
                "created_at": "2026-01-01T00:00:00Z",
            }
        )

    def test_resumes_where_it_broke(self, stub: Stub, tmp_path: Path) -> None:
        text = self.CONTENT.decode()
        cut = reply(200, text)[:-400]
        stub.replies = [cut, reply(206, text[600:])]
        with client(stub) as cortex:
            path = cortex.download(JOB_ID, self.output(self.CONTENT), tmp_path)
        assert path == tmp_path / "a" / "result.txt"
        assert path.read_bytes() == self.CONTENT
        assert stub.seen[1].headers["range"] == "bytes=600-"
        assert list(path.parent.iterdir()) == [path]

    def test_damaged_content_replaces_nothing(self, stub: Stub, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "result.txt").write_text("old")
        stub.replies = [reply(200, "not the same")]
        with client(stub) as cortex, pytest.raises(DamagedDownload):
            cortex.download(JOB_ID, self.output(self.CONTENT), tmp_path)
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["result.txt"]
        assert (tmp_path / "a" / "result.txt").read_text() == "old"

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x"])
    def test_never_leaves_the_folder(self, stub: Stub, tmp_path: Path, path: str) -> None:
        with client(stub) as cortex, pytest.raises(ClientError, match="would not stay inside"):
            cortex.download(JOB_ID, self.output(b"", path), tmp_path)
        assert stub.seen == []

    async def test_async(self, stub: Stub, tmp_path: Path) -> None:
        stub.replies = [reply(200, self.CONTENT.decode())]
        async with AsyncCortex(stub.url, "k") as cortex:
            path = await cortex.download(JOB_ID, self.output(self.CONTENT), tmp_path)
        assert path.read_bytes() == self.CONTENT


class TestConfiguration:
    def test_environment(self, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CORTEX_URL", f"{stub.url}/")
        monkeypatch.setenv("CORTEX_API_KEY", "from-env")
        stub.replies = [reply(200, INFO)]
        with Cortex() as cortex:
            assert cortex.connection.source == "environment"
            cortex.info()
        assert stub.seen[0].headers["authorization"] == "Bearer from-env"
        assert stub.seen[0].target == "/api/v1/info"

    def test_nothing_names_a_server(self, tmp_path: Path) -> None:
        with pytest.raises(NotConfigured, match="cortex up"):
            Cortex(data_dir=tmp_path)

    def test_a_url_that_is_none(self) -> None:
        with pytest.raises(NotConfigured, match="no server URL"):
            Cortex("localhost:8700")

    def test_both_clients_have_the_same_methods(self) -> None:
        def public(kind: type) -> dict[str, list[tuple[str, object]]]:
            names = {"aclose": "close"}
            return {
                names.get(name, name): [
                    (p.name, p.default) for p in inspect.signature(method).parameters.values()
                ]
                for name, method in inspect.getmembers(kind, inspect.isfunction)
                if not name.startswith("__")
            }

        assert public(Cortex) == public(AsyncCortex)

    def test_delays_grow_and_stay_bounded(self) -> None:
        policy = RetryPolicy(attempts=9, base=0.2, longest=3.0)
        delays = [policy.delay(failed) for failed in range(1, 9)]
        assert 0.15 <= delays[0] <= 0.25
        assert delays[-1] == 3.0
        assert policy.delay(1, retry_after=2.0) == 2.0
        assert policy.delay(1, retry_after=600.0) == 3.0
