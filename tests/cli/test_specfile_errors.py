"""Errors in job files end soon, name their place, and quote no secret."""

import pytest

from tests.cli.documents import made, refused


class TestKeys:
    """A key is the text that stands there; the search for its place ends."""

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize(
        ("line", "where"),
        [
            ("'a[b': y", "2:1: `a[b`"),
            ("resources: {'[x]': y}", "2:13: `resources.[x]`"),
            ("env: {'[x': y}", "2:1: `env` `[x`"),
            ("labels: {'a b': c}", "2:1: `labels` key `a b`"),
            ("1: 2", "2:1: `1` is not a known field"),
            ("? [a]\n: b", "2:3: no valid YAML: a key must be a text"),
            ("'': x", "2:1: "),
            ("'a.': {}", "2:1: `a.`"),
            ("'.[': {}", "2:1: `.[`"),
        ],
    )
    def test_odd_ones(self, line: str, where: str) -> None:
        assert where in refused(f"command: [a]\n{line}\n")

    def test_text_of_other_kinds(self) -> None:
        spec = made("command: [a]\nenv: {NO: x, Y: y}\nlabels: {2024: q3, true: t, 1.10: v}\n")
        assert spec.env == {"NO": "x", "Y": "y"}
        assert spec.labels == {"2024": "q3", "true": "t", "1.10": "v"}

    @pytest.mark.timeout(60)
    def test_no_variable(self) -> None:
        assert "`123`" in refused("command: [a]\nenv: {123: x}\n")

    @pytest.mark.timeout(120)
    def test_very_long(self) -> None:
        assert refused(f"command: [a]\n'{'[.' * 500_000}': x\n")


class TestSecrets:
    """An error shows the line that it is about, but no secret."""

    @pytest.mark.parametrize(
        "text",
        [
            "command: [a]\nsecret_env:\n  TOKEN: hunter2: x\n",
            "command: [a]\nsecret_env: {TOKEN: hunter2: x}\n",
            "command: [a]\nsecret_env:\n  TOKEN: *hunter2\n",
            "command: [a]\nsecret_env:\n  TOKEN: !hunter2 x\n",
            "command: [a]\nsecret_env:\n  TOKEN: @hunter2\n",
            "command: [a]\nsecret_env:\n  A: x\n  TOKEN: 'hunter2\n",
            "command: [a]\nsecret_env:\n\tTOKEN: hunter2\n",
            "command: [a]\nsecret_env: {\nname: hunter2: x,\n}\n",
            '{"command": ["a"], "secret_env": {"TOKEN": "hunter2" "x"}}',
            '{\n  "secret_env": {\n    "TOKEN": "hunter2" x\n  },\n  "command": ["a"]\n}',
            "jobs:\n- name: a\n  secret_env:\n    TOKEN: hunter2: x\n  command: [a]\n",
            "x-s: &s\n  TOKEN: hunter2: x\ncommand: [a]\nsecret_env: *s\n",
            "secret_env:\n  TOKEN: hunter2\n  PIN: 0o1\n  TOKEN: hunter2\ncommand: [a]\n",
            "NOsecret_env: {TOKEN: hunter2: x}\ncommand: [a]\n",
            "command: [a]\nsecret_env2: {TOKEN: hunter2: x}\n",
            "command: [a]\nsecretEnv:\n  TOKEN: hunter2: x\n",
            "command: [a]\n'Secrets' : {TOKEN: hunter2: x}\n",
        ],
    )
    def test_hidden(self, text: str) -> None:
        told = refused(text)
        assert "hunter2" not in told
        assert "f.yaml:" in told

    def test_other_lines_are_shown(self) -> None:
        told = refused("secret_env:\n  TOKEN: hunter2\ncommand: [a, ]b]\n")
        assert "command: [a, ]b]" in told
        assert "hunter2" not in told

    def test_the_name_is_shown(self) -> None:
        told = refused("command: [a]\nsecret_env:\n  TOKEN: hunter2: x\n")
        assert "  TOKEN**********" in told
