"""A provider's status from its checks, with hysteresis: one bad answer is no outage."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cortex.domain.quantities import Duration

ProviderStatus = Literal["online", "degraded", "offline"]
CheckGrade = Literal["good", "slow", "bad"]

_FIRST: dict[CheckGrade, ProviderStatus] = {"good": "online", "slow": "degraded", "bad": "offline"}
_ENOUGH = 1000


class HealthRules(BaseModel):
    """How often providers are checked, and what it takes to change their status."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    interval: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=1),
        description="How often each provider is asked how it is.",
    )
    timeout: Duration = Field(
        default=timedelta(seconds=15), gt=timedelta(0), description="For one check."
    )
    slow: Duration = Field(
        default=timedelta(seconds=5),
        gt=timedelta(0),
        description="A network that takes longer to answer is degraded.",
    )
    failures: int = Field(
        default=3, ge=1, description="Bad checks in a row until it counts as worse than before."
    )
    successes: int = Field(
        default=2, ge=1, description="Good checks in a row until it counts as better than before."
    )


class HealthState(BaseModel):
    """A status, and the runs of checks that may change it."""

    model_config = ConfigDict(frozen=True)

    status: ProviderStatus = "offline"
    bad: int = 0
    not_good: int = 0
    not_bad: int = 0
    good: int = 0

    def after(self, grade: CheckGrade, rules: HealthRules, *, first: bool = False) -> "HealthState":
        """With one more check. The first one since the provider was opened counts at once."""
        runs = {
            "bad": self.bad + 1 if grade == "bad" else 0,
            "not_good": self.not_good + 1 if grade != "good" else 0,
            "not_bad": self.not_bad + 1 if grade != "bad" else 0,
            "good": self.good + 1 if grade == "good" else 0,
        }
        counted = {name: min(run, _ENOUGH) for name, run in runs.items()}
        seen = HealthState(status=self.status, **counted)
        status = _FIRST[grade] if first else seen._settled(rules)
        return seen.model_copy(update={"status": status})

    def _settled(self, rules: HealthRules) -> ProviderStatus:
        if self.bad >= rules.failures:
            return "offline"
        if self.good >= rules.successes:
            return "online"
        if self.status == "offline" and self.not_bad >= rules.successes:
            return "degraded"
        if self.status == "online" and self.not_good >= rules.failures:
            return "degraded"
        return self.status
