"""What happens in which order, and how it is undone. Deterministic; no I/O."""

from workflows.job import JobWorkflow
from workflows.maintenance import MaintenanceWorkflow
from workflows.monitor import ProviderMonitorWorkflow
from workflows.quote import QuoteWorkflow

WORKFLOWS = (JobWorkflow, ProviderMonitorWorkflow, QuoteWorkflow, MaintenanceWorkflow)

__all__ = [
    "WORKFLOWS",
    "JobWorkflow",
    "MaintenanceWorkflow",
    "ProviderMonitorWorkflow",
    "QuoteWorkflow",
]
