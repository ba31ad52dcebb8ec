"""The sandbox that workflows are tested and replayed in: it refuses what is not deterministic.

A worker runs them outside of it (`docs/decisions/workflow-sandbox.md`).
"""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

RUNNER = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(
        "cortex",
        "activities",
        "providers",
        "workflows.decisions",
        "workflows.search",
        "workflows.gang",
        "workflows.steps",
        "workflows.stopping",
        "sqlalchemy",
        "structlog",
    )
)
