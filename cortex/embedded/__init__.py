"""The embedded stack: PostgreSQL, Temporal, API and worker under one supervisor."""

from cortex.embedded.config import PORT_OPTIONS, PortName, Ports, StackConfig
from cortex.embedded.control import (
    ProcessStatus,
    StackInfo,
    StackStatus,
    detach,
    find_running,
    stack_status,
    stop_stack,
)
from cortex.embedded.errors import AlreadyRunning, PortTaken, StackError
from cortex.embedded.foreground import run_foreground
from cortex.embedded.service import OnEvent, StackEvent
from cortex.embedded.supervisor import Supervisor

__all__ = [
    "PORT_OPTIONS",
    "AlreadyRunning",
    "OnEvent",
    "PortName",
    "PortTaken",
    "Ports",
    "ProcessStatus",
    "StackConfig",
    "StackError",
    "StackEvent",
    "StackInfo",
    "StackStatus",
    "Supervisor",
    "detach",
    "find_running",
    "run_foreground",
    "stack_status",
    "stop_stack",
]
