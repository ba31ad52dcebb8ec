"""The schema file, and that the schema shows what REST shows."""

from pathlib import Path

import pytest
from graphql import GraphQLObjectType
from pydantic import BaseModel

from api.graphql.arguments import camel
from api.graphql.schema import CORE, text
from cortex.domain.accounts import User
from cortex.domain.filters import SavedFilter
from cortex.domain.projects import Member, Project
from cortex.domain.runtime_settings import SettingsVersion
from cortex.domain.schedules import ScheduleRun
from cortex.domain.templates import Template, TemplateSummary
from cortex.domain.webhooks import Webhook
from cortex.schemas.groups import GangView, GroupView, MemberView
from cortex.schemas.jobs import JobView, LeaseView, StatusChange
from cortex.schemas.money import (
    BudgetView,
    CostReport,
    CostRow,
    ForecastView,
    LedgerView,
)
from cortex.schemas.providers import CircuitView, ProviderView
from cortex.schemas.schedules import ScheduleView
from tests.telemetry.test_structlog_alone import loaded

ROOT = Path(__file__).parents[3]


def test_the_file_is_up_to_date() -> None:
    assert (ROOT / "docs/schema.graphql").read_text() == text(), "run `make format`"


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("Job", JobView),
        ("Lease", LeaseView),
        ("StatusChange", StatusChange),
        ("Group", GroupView),
        ("Gang", GangView),
        ("Member", MemberView),
        ("LedgerEntry", LedgerView),
        ("TemplateSummary", TemplateSummary),
        ("Template", Template),
        ("Schedule", ScheduleView),
        ("ScheduleRun", ScheduleRun),
        ("Webhook", Webhook),
        ("User", User),
        ("Project", Project),
        ("ProjectMember", Member),
        ("SavedFilter", SavedFilter),
        ("SettingsVersion", SettingsVersion),
        ("CostReport", CostReport),
        ("CostRow", CostRow),
        ("Budget", BudgetView),
        ("Forecast", ForecastView),
        ("Provider", ProviderView),
        ("Circuit", CircuitView),
    ],
)
def test_types_have_the_fields_of_rest(name: str, view: type[BaseModel]) -> None:
    """What REST comes to show is shown here too, or this says that it was forgotten."""
    kind = CORE.type_map[name]
    assert isinstance(kind, GraphQLObjectType)
    assert {camel(each) for each in view.model_fields} <= set(kind.fields)


@pytest.mark.parametrize("process", ["worker", "cli.main"])
def test_only_the_api_loads_it(process: str) -> None:
    assert loaded(f"import {process}").isdisjoint({"strawberry", "graphql"})
