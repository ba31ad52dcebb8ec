"""The order of commands that runs in flight rely on: `python -m tests.workflows.fingerprints`.

A run in flight is replayed from its history by whatever code a worker has: from the first command
that differs it goes no further. So each workflow's paths are recorded (`histories/`), and
`fingerprints.json` keeps the order of commands on each of them. The command adds the paths that
are new; an order that is known it changes only for `--replace PATH...`.
"""

import argparse
import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from tests.support.sandbox import RUNNER
from workflows.registry import WORKFLOWS

HISTORIES = Path(__file__).parent / "histories"
BASELINE = Path(__file__).parent / "fingerprints.json"
SOURCES = Path(__file__).parents[2] / "workflows"
Baseline = dict[str, dict[str, list[str]]]
"""Workflow name, path (a history's file below `histories/`, without `.json`), its commands."""

_WHAT_TO_DO = """\
Runs in flight on this path would stop here at the next deploy. What to do:
  1. Take the edit back, or put it behind `workflow.patched("<what-changes>")`: runs in flight get
     False there and keep the old order, new ones get True.
  2. Record a history of the new path: add a scenario to tests/workflows/record_histories.py
     (record_reconcile.py, record_upkeep.py) and run `python -m tests.workflows.record_histories`.
  3. `python -m tests.workflows.fingerprints` adds it to tests/workflows/fingerprints.json.
Never record this history anew: it stands for runs that have begun."""

_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "complete",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "fail",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: "continue as new",
}
_VERSIONS = "TemporalChangeVersion"
"""A search attribute that the SDK keeps beside the markers of patches."""


REGISTERED: dict[str, type] = {
    workflow._Definition.must_from_class(each).name or "": each for each in WORKFLOWS
}


class BrokenPathError(AssertionError):
    """Today's code does not take a path that runs in flight have begun."""


def recorded() -> list[Path]:
    """Every recorded history."""
    return sorted(HISTORIES.rglob("*.json"))


def path_name(history: Path) -> str:
    """What the baseline calls it: `reconcile/rescued`."""
    return str(history.relative_to(HISTORIES).with_suffix(""))


def read(history: Path) -> WorkflowHistory:
    return WorkflowHistory.from_json(history.stem, history.read_text())


def replayer(*workflows: type) -> Replayer:
    return Replayer(
        workflows=workflows, data_converter=pydantic_data_converter, workflow_runner=RUNNER
    )


async def assert_replays(history: Path, edited: type | None = None) -> None:
    """Today's code, or an edited workflow, takes the recorded path.

    Raises:
        BrokenPathError: it does not; with the recorded order, and what to do.
    """
    events = read(history)
    try:
        await replayer(edited or REGISTERED[workflow_name(events)]).replay_workflow(events)
    except NondeterminismError as error:
        told = "\n".join(f"  {number:3} {c}" for number, c in enumerate(commands(events), 1))
        raise BrokenPathError(
            f"`{workflow_name(events)}` no longer takes the path `{path_name(history)}`.\n"
            f"Temporal says: {error}\nThe recorded order:\n{told}\n{_WHAT_TO_DO}"
        ) from None


def workflow_name(history: WorkflowHistory) -> str:
    return history.events[0].workflow_execution_started_event_attributes.workflow_type.name


def commands(history: WorkflowHistory) -> list[str]:
    """What the workflow told the server to do, in order."""
    return [*_commands(history)]


def _commands(history: WorkflowHistory) -> Iterator[str]:
    activities: dict[int, str] = {}
    for event in history.events:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            name = event.activity_task_scheduled_event_attributes.activity_type.name
            activities[event.event_id] = name
            yield f"activity {name}"
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED:
            attributes = event.activity_task_cancel_requested_event_attributes
            yield f"cancel activity {activities[attributes.scheduled_event_id]}"
        elif kind == EventType.EVENT_TYPE_TIMER_STARTED:
            yield "timer"
        elif kind == EventType.EVENT_TYPE_TIMER_CANCELED:
            yield "cancel timer"
        elif kind == EventType.EVENT_TYPE_MARKER_RECORDED:
            yield _marker(event)
        elif kind == EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
            upsert = event.upsert_workflow_search_attributes_event_attributes
            names = sorted({*upsert.search_attributes.indexed_fields} - {_VERSIONS})
            if names:
                yield f"search attributes {' '.join(names)}"
        elif kind == EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED:
            signal = event.signal_external_workflow_execution_initiated_event_attributes
            yield f"signal {signal.signal_name}"
        elif kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            child = event.start_child_workflow_execution_initiated_event_attributes
            yield f"child {child.workflow_type.name}"
        elif kind in _ENDS:
            yield _ENDS[kind]


def _marker(event: HistoryEvent) -> str:
    marker = event.marker_recorded_event_attributes
    ((payload,),) = [
        part.payloads for name, part in marker.details.items() if name in ("data", "patch-data")
    ]
    told = json.loads(payload.data)
    if marker.marker_name == "core_patch":
        return f"patch {told['id']}"
    return f"local activity {told['activity_type']}"


def baseline() -> Baseline:
    orders: Baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    return orders


def of_histories() -> Baseline:
    """The order of commands in every recorded history."""
    orders: Baseline = {}
    for path in recorded():
        history = read(path)
        orders.setdefault(workflow_name(history), {})[path_name(path)] = commands(history)
    return orders


def changed_orders(known: Baseline, now: Baseline) -> list[str]:
    """Paths of the baseline whose history is gone or tells another order now."""
    return [
        path
        for kind, paths in known.items()
        for path, names in paths.items()
        if now.get(kind, {}).get(path) != names
    ]


def new_paths(known: Baseline, now: Baseline) -> list[str]:
    """Recorded paths that the baseline does not have."""
    return [
        path for kind, paths in now.items() for path in paths if path not in known.get(kind, {})
    ]


def started_activities() -> set[str]:
    """The activities that the workflows' code starts, as commands of a history may name them."""
    starts = {"start_activity_method", "execute_activity_method"}
    local = {"start_local_activity_method", "execute_local_activity_method"}
    return {
        f"{'local ' if call.attr in local else ''}activity {step.attr}"
        for call, (step, *_) in _calls(starts | local)
        if isinstance(step, ast.Attribute)
    }


def patches() -> set[str]:
    """Every patch that the workflows' code asks for."""
    return {
        f"patch {name.value}"
        for _, (name, *_) in _calls({"patched"})
        if isinstance(name, ast.Constant) and isinstance(name.value, str)
    }


def _calls(names: set[str]) -> Iterator[tuple[ast.Attribute, list[ast.expr]]]:
    for path in sorted(SOURCES.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in names:
                yield node.func, node.args


def update(replace: list[str]) -> int:
    """Write the baseline anew; the exit code. Orders that changed need to be named."""
    known, now = baseline(), of_histories()
    refused = [path for path in changed_orders(known, now) if path not in replace]
    if refused:
        sys.stderr.write(
            f"not written: {', '.join(refused)} tell another order than the baseline, or are gone."
            " Runs in flight have begun on these paths: take their histories back from git and"
            " record the new path under a new name. Where no run can be left on a path, name it:"
            " `--replace PATH`.\n"
        )
        return 1
    BASELINE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    added = new_paths(known, now)
    sys.stdout.write(f"{BASELINE.name}: {len(added)} new paths {' '.join(added)}\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replace", nargs="+", default=[], metavar="PATH")
    sys.exit(update(parser.parse_args().replace))
