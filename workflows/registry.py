"""The workflows that a worker serves."""

from workflows.job import JobWorkflow
from workflows.maintenance import MaintenanceWorkflow
from workflows.monitor import ProviderMonitorWorkflow
from workflows.quote import QuoteWorkflow

WORKFLOWS = (JobWorkflow, ProviderMonitorWorkflow, QuoteWorkflow, MaintenanceWorkflow)
