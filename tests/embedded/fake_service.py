"""A stand-in for API or worker: answers HTTP 200 on a port and writes down when it was told to go.

Run by the tests as a child of the supervisor: `fake_service.py NAME PORT JOURNAL [OPTION...]`.
Options: `stubborn` ignores SIGTERM, `family` starts a child in its group and a detached one.
"""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    name, port, journal, *options = sys.argv[1:]

    def note(text: str) -> None:
        with Path(journal).open("a", encoding="utf-8") as file:
            file.write(f"{name} {text}\n")

    def leave(number: int, frame: FrameType | None) -> None:
        note(signal.Signals(number).name)
        if "stubborn" not in options:
            os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if "family" in options:
        sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
        note(f"grouped {subprocess.Popen(sleeper).pid}")
        note(f"detached {subprocess.Popen(sleeper, start_new_session=True).pid}")
    server = HTTPServer(("127.0.0.1", int(port)), Handler)
    note(f"started {os.getpid()}")
    sys.stdout.write(f"{name} listens\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
