"""The simulated gateway, put into the world of each recording, answers as the real one did.

What differs without mattering is named in `_DIFFERS`, one by one; what is of the simulator's own
making behind the gateway (texts of Kubernetes, names of pods and namespaces) was of the recorder's
own making there.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from websockets.frames import Opcode

from simulators.akash.gateway.pods import pod_name
from tests.simulators.akash.worlds import StagedWorld, TwoServices, answered, opened
from tests.support.recordings import Answer, Frame, Recording, load, needs

# What may differ, and why it cannot matter.
_DIFFERS = {
    "events-client-closes": (
        "the last event is there from the beginning: the simulator's come all at once"
    ),
    "events-none": (
        "that Kubernetes forgets events after an hour is not simulated; the end is compared"
    ),
    "events-service-labelled": (
        "the world of this case is one that Kubernetes never makes (events with labels); the end "
        "is compared"
    ),
    "logs-kube-breaks": (
        "the recording's point is that this looks like the end of a container, so that is played"
    ),
    "logs-live-nofollow": "its container waits, so that a slow test does not see a third line",
    "logs-kube-reset": "the real gateway tries for 10 s before it says the same",
    "logs-service-list": "Cortex deploys one service: the test puts the second one's pod there",
    "logs-two-services": "the same",
    "shell-output-100k": "output is cut wherever the pipe was read; together it is equal",
    "status-kube-plain-503": "the text quotes Kubernetes",
    "status-kube-reset": "the text quotes Kubernetes",
    "status-forwarded-port": "the machine and the outer port are the provider's choice",
}


class TestAlike:
    @pytest.mark.slow
    @needs("akash-gateway")
    async def test_in_the_world_of_each_recording(
        self, tmp_path_factory: pytest.TempPathFactory, record_property: Any
    ) -> None:
        recordings = load("akash-gateway")
        slots = asyncio.Semaphore(6)
        problems: list[str] = []

        async def one(recording: Recording) -> None:
            async with slots, opened(tmp_path_factory.mktemp(recording.case)) as world:
                if recording.case in ("logs-two-services", "logs-service-list"):
                    pods = TwoServices(world.folder / "worker.log")
                    world.cluster.other_pods = pods  # type: ignore[method-assign,assignment]
                seen = await answered(world, recording)
                problems.extend(_unlike(recording, _told(recording, seen, world)))

        # The slow ones first: they wait side by side.
        slow = sorted(recordings.values(), key=lambda recording: -_length(recording))
        await asyncio.gather(*(one(recording) for recording in slow))
        assert not problems, "\n".join(problems)
        record_property("recordings", len(recordings))
        assert len(recordings) == 103
        assert _DIFFERS.keys() <= recordings.keys()


def _length(recording: Recording) -> float:
    return recording.answer.ending.t if recording.answer.ending else 0.0


def _told(recording: Recording, seen: Answer, world: StagedWorld) -> Answer:
    """With the names that the recorder gave in place of the simulator's."""
    names = {
        pod_name(deployment, lease): "web-5d4f8c7b9d-abcde"
        for deployment in world.book.deployments.values()
        for lease in deployment.leases
    }
    names["worker-0000000000-00000"] = "worker-6b7c8d9e0f-fghij"
    names["127.0.0.1:8080"] = "job.example.org"
    names[world.provider] = "akash13p84lv4wpst0fs377jqqy4hkqw9chvmysxdjrf"
    names['"namespace":"lease"'] = '"namespace":"j46v5s0e90i4khha8jk7oeb3sils904nk2pm6pvs9im6s"'
    names["no-such:1"] = "job:1"

    def put(data: bytes) -> bytes:
        for name, value in names.items():
            data = data.replace(name.encode(), value.encode())
        return data

    frames = [replace(frame, data=put(frame.data)) for frame in seen.frames]
    if all(frame.opcode is not Opcode.PING for frame in recording.answer.frames):
        # A machine that is slow enough comes to a ping where the recorder's did not.
        frames = [frame for frame in frames if frame.opcode is not Opcode.PING]
    body = None if seen.body is None else put(seen.body)
    return replace(seen, frames=tuple(frames), body=body)


def _unlike(recording: Recording, seen: Answer) -> list[str]:
    """What the simulator says otherwise."""
    case, wanted = recording.case, recording.answer
    pairs: dict[str, tuple[Any, Any]] = {
        "status": (wanted.status_line, seen.status_line),
        "headers": (_headers(wanted), _headers(seen)),
        "end": (wanted.ending, seen.ending),
    }
    quoted = case in ("status-kube-plain-503", "status-kube-reset")
    if not quoted:
        pairs["body"] = (wanted.body, _port(case, seen.body))
    if case in ("events-none", "events-service-labelled"):
        close = Opcode.CLOSE
        pairs["frames"] = (wanted.frames[-1], seen.frames[-1])
        pairs["closes"] = (1, sum(frame.opcode is close for frame in seen.frames))
    elif case == "events-client-closes":
        frames = _without_pings(seen)
        pairs["frames"] = (list(wanted.frames), frames[:3] + frames[-1:])
    elif case == "shell-output-100k":
        pairs["output"] = (_streams(wanted), _streams(seen))
        pairs["fragments"] = (True, all(frame.fin for frame in seen.frames))
    else:
        pairs["frames"] = (_without_pings(wanted), _without_pings(seen))
    if _pings(wanted):  # elsewhere a machine that is slow enough may come to one, too
        pairs["pings"] = (True, _pings(seen) > 0)
    return [
        f"{case}: {what}: recorded {_short(a)}, simulated {_short(b)}"
        for what, (a, b) in pairs.items()
        if a != b
    ]


def _without_pings(answer: Answer) -> list[Frame]:
    return [frame for frame in answer.frames if frame.opcode is not Opcode.PING]


def _pings(answer: Answer) -> int:
    return len(answer.frames) - len(_without_pings(answer))


def _headers(answer: Answer) -> list[tuple[str, str]]:
    """Names and values, but for what differs each time and lengths of texts with other names."""
    each = ("Date", "Sec-WebSocket-Accept", "Content-Length")
    return [(name, "" if name in each else value) for name, value in answer.headers]


def _port(case: str, body: bytes | None) -> bytes | None:
    if case != "status-forwarded-port" or body is None:
        return body
    place = b'"host":"provider.example.org","port":8443,"externalPort":31544'
    return body.replace(b'"host":"127.0.0.1","port":8443,"externalPort":8443', place)


def _streams(answer: Answer) -> dict[int, bytes]:
    """What came of each kind, put together."""
    streams: dict[int, bytes] = {}
    for frame in _without_pings(answer):
        streams[frame.data[0]] = streams.get(frame.data[0], b"") + frame.data[1:]
    return streams


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 900 else f"{text[:600]} ... {text[-300:]}"
