"""The workflows that a worker serves."""

from workflows.budgets import BudgetsWorkflow
from workflows.group import JobGroupWorkflow
from workflows.health import ProviderHealthWorkflow
from workflows.inspect import InspectWorkflow
from workflows.job import JobWorkflow
from workflows.maintenance import MaintenanceWorkflow
from workflows.monitor import ProviderMonitorWorkflow
from workflows.provider_check import ProviderCheckWorkflow
from workflows.quote import QuoteWorkflow
from workflows.reconcile import ReconcileWorkflow
from workflows.rescue import RescueWorkflow
from workflows.scheduled import ScheduledWorkflow

WORKFLOWS = (
    JobWorkflow,
    JobGroupWorkflow,
    ProviderMonitorWorkflow,
    QuoteWorkflow,
    MaintenanceWorkflow,
    BudgetsWorkflow,
    ProviderHealthWorkflow,
    ProviderCheckWorkflow,
    InspectWorkflow,
    ReconcileWorkflow,
    RescueWorkflow,
    ScheduledWorkflow,
)
