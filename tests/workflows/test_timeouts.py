"""A worker that dies in a step is noticed by its missing heartbeat, and not minutes later.

Found by killing workers at every boundary: one that died while it advanced a group kept the group
waiting for two minutes, longer than its members may wait for it.
"""

import ast
from pathlib import Path

WORKFLOWS = Path(__file__).parents[2] / "workflows"
_STARTS = ("start_activity_method", "execute_activity_method")
# Nothing waits for these, or they are given up within seconds anyway.
_WITHOUT = {"check_health", "check_draft", "fire", "maintain", "quote"}


def steps() -> dict[str, bool]:
    """Every activity that a workflow starts, and whether it has a heartbeat timeout everywhere."""
    heartbeats: dict[str, bool] = {}
    for path in sorted(WORKFLOWS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in _STARTS:
                (step, *_) = node.args
                assert isinstance(step, ast.Attribute), ast.unparse(node)
                names = {keyword.arg for keyword in node.keywords}
                beats = "heartbeat_timeout" in names
                heartbeats[step.attr] = heartbeats.get(step.attr, True) and beats
    return heartbeats


def test_every_step_of_a_job_or_group_has_a_heartbeat() -> None:
    heartbeats = steps()
    assert {"place", "settle", "finish", "advance", "verdict", "plan_rescue"} <= set(heartbeats)
    assert {name for name, beats in heartbeats.items() if not beats} == _WITHOUT
