"""Options that make no sense are refused before anybody is asked anything."""

import json

import pytest
from typer.testing import CliRunner

from cli.main import app


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--budget", "0", "must be more than zero"),
        ("--budget", "-1", "must be more than zero"),
        ("--budget", "much", "is no amount"),
        ("--budget", "NaN", "is no amount"),
        ("--budget", "", "is no amount"),
        ("--budget", "0.5 GLM", "is not in USD"),
        ("--budget", "5000", "at most 1000 USD"),
        ("--timeout", "soon", "is no duration"),
        ("--timeout", "1s", "between 10s and 6h"),
        ("--timeout", "7h", "between 10s and 6h"),
        ("--report", "/nowhere/report.md", "there is no folder"),
        ("--report", "/", "is a folder"),
    ],
)
def test_bad_options(option: str, value: str, told: str) -> None:
    words = ["--url", "http://127.0.0.1:1", "--json", "provider", "verify", "x", option, value]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    content = json.loads(done.stderr)["error"]
    assert told in content["message"]
    assert option in content["message"]
