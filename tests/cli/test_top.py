"""The busiest jobs first; of a job that nobody measures nothing is said."""

from cli.top import Load, rows_of


def load(name: str, cpu: float | None) -> Load:
    return Load(
        id=name,
        name=name,
        provider_id=None,
        cpu=cpu,
        memory=None if cpu is None else 2.0**20,
        gpu=None,
        cpu_seconds=cpu,
        age="3m",
    )


def test_rows() -> None:
    assert rows_of([load("a", 1.5), load("b", None)]) == [
        ("a", "a", "-", "1.50", "1.0 MiB", "-", "1.5 s", "3m"),
        ("b", "b", "-", "-", "-", "-", "-", "3m"),
    ]
