"""Renders the frames of one lease: painters side by side, each frame tried anew on its own.

    python supervise.py PLAN

Uses the standard library only. What happens to each frame is appended to the journal, one JSON
object a line, and synced before anything else is begun: whoever reads it, at any time and after
any crash, knows how far the work is. A painter that dies takes only its present frame with it.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
import urllib.request
from collections import deque

FATAL = "fatal"


class Frame:
    """What is known of one frame."""

    def __init__(self) -> None:
        self.attempts = 0
        self.seconds = 0.0
        self.began = 0.0


class Painter:
    """A process that renders a few frames in a row, and the pipe on which it tells how it does."""

    def __init__(self, plan: dict[str, object], plan_path: str, frames: list[int]) -> None:
        self.left = frames
        self.current: int | None = None
        self.error = ""
        self.fatal = ""
        self.rest = b""
        self.pipe, told = os.pipe()
        words = plan["painter"]
        assert isinstance(words, list)
        argv = [*map(str, words), plan_path, str(told), ",".join(map(str, frames))]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, pass_fds=(told,)
        )
        os.close(told)

    def read(self) -> list[dict[str, object]] | None:
        """What it has said since; None once it says no more."""
        data = os.read(self.pipe, 65536)
        if not data:
            return None
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [json.loads(line) for line in lines if line]


class Supervisor:
    def __init__(self, plan_path: str) -> None:
        with open(plan_path, encoding="utf-8") as file:
            self.plan: dict[str, object] = json.load(file)
        self.plan_path = plan_path
        self.echo = str(self.plan.get("echo") or "")
        self.retries = int(str(self.plan["retries"]))
        frames = self.plan["frames"]
        assert isinstance(frames, list)
        size = int(str(self.plan["chunk"]))
        self.frames = {int(number): Frame() for number in frames}
        numbers = list(self.frames)
        self.chunks = deque(numbers[at : at + size] for at in range(0, len(numbers), size))
        self.painters: dict[int, Painter] = {}
        self.failed: list[int] = []
        self.done = 0
        self.stopping = False
        self.journal = os.open(str(self.plan["journal"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Render all; 0 if every frame is done, 1 if one is not."""
        for name in ("frames", "previews", "partial"):
            os.makedirs(name, exist_ok=True)
        if not self.frames:
            say("nothing is left to render")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        # A signal must end the wait for the painters.
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        self.selector.register(reader, selectors.EVENT_READ)
        workers = int(str(self.plan["workers"]))
        while self.painters or (self.chunks and not self.stopping):
            while self.chunks and len(self.painters) < workers and not self.stopping:
                self._begin(self.chunks.popleft())
            for key, _ in self.selector.select():
                if key.fd == reader:
                    os.read(reader, 1024)
                else:
                    self._hear(self.painters[key.fd])
        return 143 if self.stopping else 1 if self.failed else 0

    def _stop(self, _number: int, _stack: object) -> None:
        self.stopping = True
        for painter in self.painters.values():
            with contextlib.suppress(ProcessLookupError):
                painter.process.kill()

    def _begin(self, frames: list[int]) -> None:
        painter = Painter(self.plan, self.plan_path, frames)
        self.painters[painter.pipe] = painter
        self.selector.register(painter.pipe, selectors.EVENT_READ)
        if self.stopping:  # the signal came in between
            painter.process.kill()

    def _hear(self, painter: Painter) -> None:
        said = painter.read()
        if said is None:
            self._ended(painter)
            return
        for message in said:
            self._take(painter, message)

    def _take(self, painter: Painter, message: dict[str, object]) -> None:
        what = message["what"]
        if what == FATAL:
            painter.fatal = str(message["message"])
        elif what == "begin":
            self._begun(painter, int(str(message["frame"])))
        elif what == "error":
            painter.error = str(message["message"])
            self._missed(painter, painter.error)
        elif what == "end" and painter.current is not None:
            self._finish(painter, str(message["output"]))

    def _finish(self, painter: Painter, output: str) -> None:
        """A frame is done once its file is where it is kept."""
        try:
            self._hand_over(output)
        except OSError as error:
            self._missed(painter, f"its file could not be handed over: {error}")
            return
        if painter.current is not None:
            number, frame = painter.current, self._timed(painter)
            self.done += 1
            self._write(number, "done", output=output, finished_at=time.time())
            tries = f", tried {frame.attempts} times" if frame.attempts > 1 else ""
            say(f"frame {number} done in {frame.seconds:.2f} s{tries}")

    def _hand_over(self, output: str) -> None:
        """Where the machine may be gone at any time, files are sent away one by one."""
        links = self.plan.get("links")
        if not isinstance(links, dict):
            return
        number = os.path.splitext(os.path.basename(output))[0]
        for path in (f"previews/{number}.png", output):
            if path in links and os.path.exists(path):
                send(path, str(links[path]))

    def _begun(self, painter: Painter, number: int) -> None:
        painter.current, painter.error = number, ""
        painter.left = [other for other in painter.left if other != number]
        frame = self.frames[number]
        frame.attempts += 1
        frame.began = time.monotonic()
        self._write(number, "rendering")

    def _timed(self, painter: Painter) -> Frame:
        """The end of the present frame's time."""
        assert painter.current is not None
        frame = self.frames[painter.current]
        frame.seconds += time.monotonic() - frame.began
        painter.current = None
        return frame

    def _ended(self, painter: Painter) -> None:
        """The painter is gone: its present frame has failed, and the rest goes to another."""
        self.selector.unregister(painter.pipe)
        del self.painters[painter.pipe]
        os.close(painter.pipe)
        code = painter.process.wait()
        if painter.fatal:
            self._give_up(painter, painter.fatal)
            return
        if painter.current is None and painter.left and not self.stopping:
            # It died before it began: that counts for the frame it would have begun with.
            self._begun(painter, painter.left[0])
        if painter.current is not None:
            self._missed(painter, painter.error or _end_of(code))
        if painter.left:
            self.chunks.appendleft(painter.left)

    def _missed(self, painter: Painter, message: str) -> None:
        """The present frame was not rendered."""
        number = painter.current
        if number is None:
            return
        frame = self._timed(painter)
        if self.stopping:
            self._write(number, "queued", message="stopped")
        elif frame.attempts > self.retries:
            self.failed.append(number)
            self._write(number, "failed", message=message, finished_at=time.time())
            say(f"frame {number} failed for good: {message}")
        else:
            self._write(number, "queued", message=message)
            self.chunks.appendleft([number])
            say(f"frame {number} is rendered anew: {message}")

    def _give_up(self, painter: Painter, message: str) -> None:
        """Nothing of this scene can be rendered: trying on would only cost."""
        say(f"the scene cannot be rendered: {message}")
        rest = [*painter.left, *(number for chunk in self.chunks for number in chunk)]
        self.chunks.clear()
        for number in rest:
            self.failed.append(number)
            self._write(number, "failed", message=message, finished_at=time.time())

    def _write(self, number: int, state: str, **facts: object) -> None:
        frame = self.frames[number]
        entry = {
            "frame": number,
            "state": state,
            "attempts": frame.attempts,
            "seconds": round(frame.seconds, 6),
            **facts,
        }
        line = json.dumps(entry)
        os.write(self.journal, line.encode() + b"\n")
        os.fsync(self.journal)
        if self.echo:  # where nobody can read the journal, the log carries it
            say(f"{self.echo}{line}")


def send(path: str, url: str) -> None:
    """PUT a file. Raises OSError when it does not arrive."""
    for wait in (1, 4, None):
        with open(path, "rb") as file:
            data = file.read()
        request = urllib.request.Request(url, data=data, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=120):  # nosec B310
                return
        except OSError as error:
            if wait is None:
                # Its text may hold the link, which is a secret.
                raise OSError(type(error).__name__) from None
        time.sleep(wait)


def say(text: str) -> None:
    """A line for the job's log."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end_of(code: int) -> str:
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process exited with {code} in the middle of it"


if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1]).run())
