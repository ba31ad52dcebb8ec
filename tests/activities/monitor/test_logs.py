"""Whether somebody looks at a log, as the one who copies it knows."""

import asyncio
import time

import pytest

from activities.monitor.logs import Audience


class TestAudience:
    def test_at_first_somebody_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        looks = asyncio.Event()
        audience = Audience(looks)
        assert audience()
        now += 41
        assert not audience()

    def test_a_notice_counts_until_the_next_would_have_come(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        looks = asyncio.Event()
        audience = Audience(looks)
        now += 1000
        looks.set()
        assert audience()
        assert not looks.is_set()
        now += 39
        assert audience()
        now += 2
        assert not audience()
