"""The jobs of `cortex demo`, and how each must end."""

from dataclasses import dataclass

from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState

BATCH = 20
PRIMES_RESULT = "6057 primes up to 60000, the largest is 59999"

_PRIMES = """
awk 'BEGIN {
  limit = 60000
  for (n = 2; n <= limit; n++) {
    prime = 1
    for (d = 2; d * d <= n; d++) if (n % d == 0) { prime = 0; break }
    if (prime) { found++; last = n }
    if (n % 6000 == 0) {
      printf "::progress %d%% %d primes so far\\n", n * 100 / limit, found
      fflush(); system("sleep 0.3")
    }
  }
  printf "%d primes up to %d, the largest is %d\\n", found, limit, last > "result.txt"
}'
cat result.txt
"""
_SUM = 'n=0; for i in $(seq 1 "$COUNT"); do n=$((n + i)); done; echo "the sum up to $COUNT is $n"'


@dataclass(frozen=True)
class Expected:
    """A job, and how it must end.

    Attributes:
        cancel: The demo cancels it once it runs.
    """

    spec: JobSpec
    state: JobState
    why: str
    exit_code: int | None = None
    attempts: int = 1
    cancel: bool = False


def plan() -> list[Expected]:
    """All jobs of the demo."""
    return [
        Expected(
            _job("primes", _PRIMES, outputs=["result.txt"]),
            JobState.COMPLETED,
            "computes, tells its progress and leaves a file",
            exit_code=0,
        ),
        Expected(
            _job("fails", 'echo "reading input"; echo "no such input" >&2; exit 3'),
            JobState.FAILED,
            "fails, is released and billed",
            exit_code=3,
        ),
        Expected(
            _job("flaky", 'echo "trying"; sleep 0.2; echo "not this time" >&2; exit 7', retries=1),
            JobState.FAILED,
            "fails, is undone, is started once more, and fails again",
            exit_code=7,
            attempts=2,
        ),
        Expected(
            _job("endless", 'echo "working"; sleep 600'),
            JobState.CANCELLED,
            "is cancelled while it runs",
            cancel=True,
        ),
        *(
            Expected(
                _job(f"batch-{number:02}", _SUM, env={"COUNT": number * 100}),
                JobState.COMPLETED,
                "is one of a batch",
                exit_code=0,
            )
            for number in range(1, BATCH + 1)
        ),
    ]


def _job(name: str, script: str, **more: object) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": name,
            "command": ["sh", "-c", script],
            "resources": {"cpu": "0.1", "memory": "64Mi"},
            "duration": "10m",
            "placement": {"providers": ["local"]},
            "labels": {"demo": "true"},
            **more,
        }
    )
