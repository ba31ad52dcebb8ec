"""The circuit breaker's states, and which calls move it."""

from datetime import UTC, datetime, timedelta

import pytest

from cortex.domain.providers.circuit import Circuit, CircuitRules, CircuitState, change_words

RULES = CircuitRules(
    failures=3,
    open_for=timedelta(seconds=10),
    longest=timedelta(seconds=25),
    probe_timeout=timedelta(seconds=5),
)
T0 = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def opened(when: float = 0) -> Circuit:
    circuit = Circuit()
    for _ in range(3):
        circuit = circuit.failed("down", at(when), RULES)
    assert circuit.state is CircuitState.OPEN
    return circuit


class TestClosed:
    def test_opens_after_failures_in_a_row(self) -> None:
        circuit = Circuit().failed("a", T0, RULES).failed("b", T0, RULES)
        assert (circuit.state, circuit.failures, circuit.reason) == (CircuitState.CLOSED, 2, "b")
        circuit = circuit.failed("c", T0, RULES)
        assert circuit.state is CircuitState.OPEN
        assert (circuit.since, circuit.probe_at) == (T0, at(10))

    def test_an_answer_in_between_counts_from_nothing(self) -> None:
        circuit = Circuit().failed("a", T0, RULES).failed("b", T0, RULES).succeeded(T0)
        assert circuit == Circuit()
        assert circuit.failed("c", T0, RULES).state is CircuitState.CLOSED

    def test_has_no_objection_and_lets_no_probe_in(self) -> None:
        assert Circuit(failures=2, reason="x").objection() == ""
        assert Circuit().probing(T0, RULES) is None


class TestOpen:
    def test_says_since_when_and_until_when(self) -> None:
        objection = opened().objection()
        assert objection == (
            "its circuit is open since 12:00:00 UTC, next probe at 12:00:10 UTC (down)"
        )

    def test_nothing_but_a_probe_in_time_moves_it(self) -> None:
        circuit = opened()
        assert circuit.succeeded(at(1)) == circuit
        assert circuit.failed("again", at(1), RULES) == circuit
        assert circuit.probing(at(9.9), RULES) is None
        probing = circuit.probing(at(10), RULES)
        assert probing is not None
        assert probing.state is CircuitState.HALF_OPEN
        assert probing.probe_at == at(15)


class TestHalfOpen:
    @pytest.fixture
    def half_open(self) -> Circuit:
        circuit = opened().probing(at(10), RULES)
        assert circuit is not None
        return circuit

    def test_lets_one_probe_in(self, half_open: Circuit) -> None:
        assert half_open.probing(at(11), RULES) is None
        assert "one probe is on its way" in half_open.objection()

    def test_gives_up_a_probe_that_is_lost(self, half_open: Circuit) -> None:
        again = half_open.probing(at(15), RULES)
        assert again is not None
        assert (again.since, again.probe_at) == (at(10), at(20))

    def test_closes_when_it_is_answered(self, half_open: Circuit) -> None:
        closed = half_open.succeeded(at(11))
        assert (closed.state, closed.failures, closed.reason) == (CircuitState.CLOSED, 0, "")

    def test_rests_longer_each_time_it_fails_again(self, half_open: Circuit) -> None:
        circuit = half_open.failed("still", at(11), RULES)
        assert circuit.state is CircuitState.OPEN
        assert circuit.probe_at == at(11 + 20)
        probing = circuit.probing(at(31), RULES)
        assert probing is not None
        assert probing.failed("still", at(32), RULES).probe_at == at(32 + 25)  # and no longer

    @pytest.mark.parametrize(("later", "rest"), [(5, 20), (100, 10)])
    def test_trips_soon_after_another_count_together(
        self, half_open: Circuit, later: float, rest: float
    ) -> None:
        circuit = half_open.succeeded(at(11))
        for _ in range(3):
            circuit = circuit.failed("x", at(11 + later), RULES)
        assert circuit.probe_at == at(11 + later + rest)


def test_every_transition_has_words() -> None:
    circuit = opened()
    assert "probed again in 10s" in change_words(circuit, T0)
    probing = circuit.probing(at(10), RULES)
    assert probing is not None
    assert "one probe" in change_words(probing, at(10))
    assert "answers again" in change_words(probing.succeeded(at(11)), at(11))
