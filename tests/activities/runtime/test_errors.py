"""Which steps are given up after an error, and which never: every activity there is."""

import dataclasses
import importlib
import pkgutil
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

import activities
from activities.runtime.errors import PATIENCE, is_relentless, relentless, translated
from cortex.domain.errors import NotFound
from providers.errors import Unavailable

# If one of these were given up, a job would never end, or a lease never be released.
NEVER_GIVEN_UP = {
    "settle",
    "finish",
    "watch",
    "check",
    "maintain",
    "plan_rescue",
    "advance",
    "verdict",
}


def all_activities() -> set[str]:
    names: set[str] = set()
    for module in pkgutil.walk_packages(activities.__path__, "activities."):
        for owner in vars(importlib.import_module(module.name)).values():
            # A copy: to look at a member of a model may build its schema, which changes the model.
            for member in tuple(vars(owner).values()) if isinstance(owner, type) else ():
                definition = getattr(member, "__temporal_activity_definition", None)
                if definition is not None:
                    names.add(definition.name)
    return names


ALL = sorted(all_activities())


def test_every_name_is_one_of_an_activity() -> None:
    assert set(ALL) >= NEVER_GIVEN_UP
    assert {name for name in ALL if is_relentless(name)} == NEVER_GIVEN_UP


@pytest.mark.parametrize("error", [NotFound("gone"), KeyError("a bug"), Unavailable("away")])
@pytest.mark.parametrize("name", ALL)
async def test_only_the_others_are_given_up(name: str, error: Exception) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        environment.info,
        activity_type=name,
        scheduled_time=datetime.now(UTC) - PATIENCE - timedelta(seconds=1),
    )

    def fail() -> None:
        with translated():
            raise error

    with pytest.raises(ApplicationError) as raised:
        environment.run(fail)
    assert raised.value.non_retryable is (name not in NEVER_GIVEN_UP)


def test_the_name_is_that_of_the_method() -> None:
    @relentless
    async def just_for_this_test() -> None:
        """Nothing."""

    definition = getattr(just_for_this_test, "__temporal_activity_definition", None)
    assert definition is not None
    assert definition.name == "just_for_this_test"
    assert is_relentless("just_for_this_test")
