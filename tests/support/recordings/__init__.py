"""Recordings of real software: read, played byte for byte, and taken of others in the same form.

    recording = load("akash-gateway")["logs-finished"]
    async with playing(recording) as player:      # TLS 1.3; `tls=False` for plain HTTP
        ...                                       # `player.url`, `player.pem`, `player.requests`
    seen = await ask(url, recording.request)      # an `Answer`, like `recording.answer`

Tests of a network whose recordings are not beside this project carry `needs(network)`.
"""

from tests.support.recordings.ask import ask
from tests.support.recordings.files import Answer, Ending, Frame, Recording, Request, load, needs
from tests.support.recordings.play import Asked, Player, playing

__all__ = [
    "Answer",
    "Asked",
    "Ending",
    "Frame",
    "Player",
    "Recording",
    "Request",
    "ask",
    "load",
    "needs",
    "playing",
]
