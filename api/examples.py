"""Examples of the main bodies, for the document; each is taken as it stands."""

from typing import Any, Final

EXAMPLES: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "JobSpec": {
        "a container": {
            "summary": "A command in a container, with a budget of its own",
            "value": {
                "name": "train",
                "image": "python:3.11-slim",
                "command": ["python", "-c", "print('hello')"],
                "resources": {"cpu": 2, "memory": "4Gi", "storage": "10Gi"},
                "duration": "2h",
                "budget": "10 USD",
                "labels": {"team": "vision"},
            },
        },
        "a process": {
            "summary": "A command of the machine it runs on, with a file that is kept",
            "value": {
                "name": "squares",
                "command": ["sh", "-c", "seq 1 10 > numbers.txt"],
                "outputs": ["numbers.txt"],
                "retries": 2,
            },
        },
    },
    "GroupSpec": {
        "one after the other": {
            "summary": "An array of ten jobs that needs another one first",
            "value": {
                "name": "sweep",
                "policy": "best_effort",
                "concurrency": 5,
                "jobs": [
                    {
                        "name": "prep",
                        "command": ["sh", "-c", "seq 1 10 > data"],
                        "outputs": ["data"],
                    },
                    {
                        "name": "part",
                        "count": 10,
                        "after": "prep",
                        "command": ["sh", "-c", "echo part {index} of {count}"],
                    },
                ],
            },
        },
    },
    "BudgetCreate": {
        "of a team": {
            "summary": "What the jobs with a label may cost in a month; jobs over it are refused",
            "value": {
                "name": "vision",
                "scope": "label",
                "scope_value": "team=vision",
                "period": "month",
                "amount": "100 USD",
                "action": "stop",
            },
        },
        "of all": {
            "summary": "Told when all jobs of a day cost more than this",
            "value": {"name": "a day", "period": "day", "amount": "20 USD"},
        },
    },
}
"""By the name of the model: what it is called to what OpenAPI calls an Example Object."""
