"""The part of the blocking client that is about money."""
# Made from _async/money.py by `make format`; change that one.

from collections.abc import Iterator
from functools import partial

from cortex.client._routes import money as routes
from cortex.client._routes.call import IfMatch, Since, only_if
from cortex.client._sync.paging import every_entry
from cortex.client.transport import Transport
from cortex.domain.money import Money
from cortex.domain.money.budgets import BudgetAction, BudgetPeriod, BudgetScope
from cortex.schemas.money import BudgetView, CostReport, ForecastView, LedgerPage, LedgerView


class MoneyCalls:
    """What `Cortex` can do with bills and budgets."""

    _transport: Transport

    def ledger(
        self, job_id: str | None = None, *, limit: int = 500, cursor: str | None = None
    ) -> LedgerPage:
        """One page of the ledger, oldest first: of a job, or of all."""
        return self._transport.call(routes.ledger(job_id, limit, cursor))

    def iter_ledger(self, job_id: str | None = None) -> Iterator[LedgerView]:
        """All entries of the ledger, oldest first."""
        pages = partial(routes.ledger, job_id, 500)
        yield from every_entry(self._transport, pages)

    def ledger_csv(
        self, job_id: str | None = None, *, since: Since | None = None, until: Since | None = None
    ) -> str:
        """The ledger as CSV, oldest first: of a job, or of all."""
        return self._transport.call(routes.ledger_csv(job_id, since, until))

    def costs(
        self,
        group_by: str = "provider",
        *,
        since: Since | None = None,
        until: Since | None = None,
        project: str | None = None,
    ) -> CostReport:
        """What was charged and what is held.

        Args:
            group_by: `provider`, `owner`, `project`, `job`, `group`, `cause`, `hour`, `day`,
                `week`, `month` or `label:<key>`; or two of them with a comma.
            since: Entries from this time on (a time, or how long ago).
            until: Entries before this time.
            project: Of the jobs in this one only.
        """
        return self._transport.call(routes.costs(group_by, since, until, project))

    def costs_csv(
        self,
        group_by: str = "provider",
        *,
        since: Since | None = None,
        until: Since | None = None,
        project: str | None = None,
    ) -> str:
        """The same as CSV."""
        return self._transport.call(routes.costs_csv(group_by, since, until, project))

    def forecast(self, period: BudgetPeriod = BudgetPeriod.MONTH) -> ForecastView:
        """What all jobs will have cost at the end of the present period."""
        return self._transport.call(routes.forecast(period))

    def budgets(self) -> tuple[BudgetView, ...]:
        """Every budget with what counts against it now."""
        return self._transport.call(routes.budgets())

    def budget(self, budget_id: str) -> BudgetView:
        """One budget with its forecast."""
        return self._transport.call(routes.budget(budget_id))

    def create_budget(
        self,
        name: str,
        amount: Money | str,
        *,
        scope: BudgetScope = BudgetScope.SYSTEM,
        scope_value: str | None = None,
        period: BudgetPeriod = BudgetPeriod.MONTH,
        action: BudgetAction = BudgetAction.ALERT,
        enabled: bool = True,
    ) -> BudgetView:
        """Add a budget.

        Args:
            name: Stands in every message about it.
            amount: Such as `100 USD`.
            scope: All jobs, those of a user, those in a project, or those with a label.
            scope_value: Name of the user or project, or the label as `key=value`.
            period: In UTC.
            action: `alert` tells only; `stop` also refuses and stops jobs.
            enabled: Whether it counts.
        """
        values = {
            "name": name,
            "amount": amount,
            "scope": scope,
            "scope_value": scope_value,
            "period": period,
            "action": action,
            "enabled": enabled,
        }
        return self._transport.call(routes.create_budget(values))

    def update_budget(
        self,
        budget_id: str,
        *,
        name: str | None = None,
        amount: Money | str | None = None,
        period: BudgetPeriod | None = None,
        action: BudgetAction | None = None,
        enabled: bool | None = None,
        if_match: IfMatch = None,
    ) -> BudgetView:
        """Change a budget; what is None stays as it is.

        Args:
            budget_id: Its id.
            name: Stands in every message about it.
            amount: Such as `100 USD`.
            period: In UTC.
            action: `alert` tells only; `stop` also refuses and stops jobs.
            enabled: Whether it counts.
            if_match: Only at this version; `LAST_SEEN`: as this client read it last.

        Raises:
            PreconditionFailed: others have changed it meanwhile.
        """
        values = {
            "name": name,
            "amount": amount,
            "period": period,
            "action": action,
            "enabled": enabled,
        }
        call = routes.update_budget(budget_id, values)
        return self._transport.call(only_if(call, if_match))

    def delete_budget(self, budget_id: str, *, if_match: IfMatch = None) -> None:
        """Remove a budget; with `if_match` only at that version (`PreconditionFailed`)."""
        return self._transport.call(only_if(routes.delete_budget(budget_id), if_match))
