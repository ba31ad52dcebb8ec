"""What is written in a job file is what the job gets, or it is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from cli.errors import BadInput
from cli.groupfile import load_group
from cli.options import RunOptions
from cli.specfile import parse
from cortex.domain.groups.expand import ExpandedJob
from cortex.domain.spec import JobSpec
from tests.cli.documents import made, refused


def members(folder: Path, text: str) -> list[ExpandedJob]:
    path = folder / "g.yaml"
    path.write_text(text)
    return load_group(str(path))[2]


def with_set(*assignments: str) -> JobSpec:
    return RunOptions(command=["true"], overrides=assignments).document().spec()


class TestText:
    """Where text belongs, a scalar is the text that stands there."""

    WRITTEN = (
        "{COUNTRY: NO, PY: 3.10, MODE: 0644, AT: 12:30:00, NUM: 1_000, ON: on, T: True, E: 1e3}"
    )
    TAKEN = {
        "COUNTRY": "NO",
        "PY": "3.10",
        "MODE": "0644",
        "AT": "12:30:00",
        "NUM": "1_000",
        "ON": "on",
        "T": "True",
        "E": "1e3",
    }

    def test_variables(self) -> None:
        spec = made(f"command: [a]\nenv: {self.WRITTEN}\nsecret_env: {{PIN: 0042}}\n")
        assert spec.env == self.TAKEN
        assert spec.secrets() == {"PIN": "0042"}

    def test_labels(self) -> None:
        assert made(f"command: [a]\nlabels: {self.WRITTEN}\n").labels == self.TAKEN

    def test_words_of_a_command(self) -> None:
        spec = made("command: [sleep, 010, yes, 3.10, 2026-01-01]\nargs: [0x10, 1:30]\n")
        assert spec.command == ("sleep", "010", "yes", "3.10", "2026-01-01")
        assert spec.args == ("0x10", "1:30")

    def test_single_fields(self) -> None:
        text = "command: [a]\nname: 2024\nimage: 1.10\nresources: {gpu: {model: 4090}}\n"
        spec = made(f"{text}outputs: [1.10, no]\n")
        assert (spec.name, spec.image, spec.outputs) == ("2024", "1.10", ("1.10", "no"))
        assert spec.resources.gpu is not None
        assert spec.resources.gpu.model == "4090"

    def test_matrix(self, tmp_path: Path) -> None:
        expanded = members(
            tmp_path,
            "labels: {py: 3.10}\njobs:\n- name: t\n  command: ['{py}', '{ok}']\n"
            "  matrix: {py: [3.1, 3.10], ok: [no, yes]}\n  env: {A: 0644}\n",
        )
        assert [member.spec.command for member in expanded] == [
            ("3.1", "no"),
            ("3.1", "yes"),
            ("3.10", "no"),
            ("3.10", "yes"),
        ]
        assert {member.spec.labels["py"] for member in expanded} == {"3.10"}
        assert {member.spec.env["A"] for member in expanded} == {"0644"}

    def test_json_too(self) -> None:
        text = '{"command": ["a", 1.10, true], "env": {"A": 3.10, "B": 1e3, "C": true, "D": -0}}'
        spec = made(text)
        assert spec.env == {"A": "3.10", "B": "1e3", "C": "true", "D": "-0"}
        assert spec.command == ("a", "1.10", "true")

    @pytest.mark.parametrize("empty", ["", "~", "null"])
    def test_nothing_is_no_text(self, empty: str) -> None:
        assert 'env.A` is empty; write ""' in refused(f"command: [a]\nenv: {{A: {empty}}}\n")

    def test_tags_and_quotes(self) -> None:
        spec = made("command: [a]\nenv: {A: !!str 5, B: '5', C: !!int 5, D: ! 05}\n")
        assert spec.env == {"A": "5", "B": "5", "C": "5", "D": "05"}


class TestSet:
    """After the `=` everything is text, where text belongs."""

    @pytest.mark.parametrize(
        "text",
        ["3.10", "no", "0755", "12:30", "a #b", "#fff", "null", "", "[a]", "{a: b}", "a=b", "1_0"],
    )
    def test_text(self, text: str) -> None:
        spec = with_set(f"env.V={text}", f"secret_env.S={text}")
        assert (spec.env["V"], spec.secrets()["S"]) == (text, text)

    def test_names_with_dots(self) -> None:
        spec = with_set("env.discovery.type=single-node", "labels.app.kubernetes.io/name=x")
        assert spec.env == {"discovery.type": "single-node"}
        assert spec.labels == {"app.kubernetes.io/name": "x"}

    def test_other_fields(self) -> None:
        spec = with_set(
            "resources.pids=5",
            "read_only_root=true",
            "retries=2",
            "command=[sh, -c, 010]",
            "budget=0.50 USD",
            "duration=1h30m",
            "placement.providers=[a, 1.0]",
        )
        assert (spec.resources.pids, spec.read_only_root, spec.retries.on_failure) == (5, True, 2)
        assert spec.command == ("sh", "-c", "010")
        assert (str(spec.budget), spec.placement.providers) == ("0.5 USD", ("a", "1.0"))

    @pytest.mark.parametrize(
        ("assignment", "words"),
        [
            ("retries=010", "8 to YAML 1.1"),
            ("resources.cpu=1_0", "write `10`"),
            ("duration=1:30", "two readings"),
            ("command=[a", "--set command: `command`"),
        ],
    )
    def test_two_readings(self, assignment: str, words: str) -> None:
        with pytest.raises(BadInput) as caught:
            with_set(assignment)
        assert words in "\n".join([caught.value.message, *caught.value.details])


class TestTwoReadings:
    """What two people would read as two values is refused, with both."""

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("duration: 1:30", ("`1m30s`", "`1h30m`")),
            ("placement: {timeout: 1:30}", ("`1m30s`", "`1h30m`")),
            ("resources: {cpu: 1_0}", ("resources.cpu", "`10`")),
            ("resources: {pids: 1_000}", ("resources.pids", "`1000`")),
            ("resources: {pids: 0100}", ("`64`", "`100`")),
            ("retries: 010", ("`8`", "`10`")),
            ("resources: {memory: 512m}", ("`512M`", "`512Mi`")),
            ("resources: {memory: 4g}", ("`4G`", "`4Gi`")),
            ("resources: {memory: 4096K}", ("`4096k`", "`4096Ki`")),
            ("resources: {storage: 0.5}", ("whole number of bytes",)),
            ("duration: 1 30m", ("is no duration",)),
            ("budget: {amount: 1_0, currency: USD}", ("`10`",)),
        ],
    )
    def test_refused(self, line: str, words: tuple[str, ...]) -> None:
        told = refused(f"command: [a]\n{line}\n")
        assert all(word in told for word in words), told
        assert "f.yaml:2:" in told

    @pytest.mark.parametrize("exponent", ["9" * 4, "9" * 20, "-" + "9" * 20])
    def test_numbers_out_of_all_range(self, exponent: str) -> None:
        for field in ("duration", "budget", "retries"):
            assert f"2:1: `{field}" in refused(f"command: [a]\n{field}: 1.5e{exponent}\n")
        assert refused(f'{{"command": ["a"], "duration": 1e{exponent}}}')

    @pytest.mark.parametrize("text", ['"1_0"', '"٣"', '"1 0"'])
    def test_also_in_quotes(self, text: str) -> None:
        assert "is no number of cores" in refused(f"command: [a]\nresources: {{cpu: {text}}}\n")
        assert "is no duration" in refused(f"command: [a]\nduration: {text}\n")

    def test_one_reading(self) -> None:
        spec = made(
            "command: [a]\nduration: 1:30:00\nretries: 0x2\nresources: {pids: 0o17, cpu: 0.10}\n"
        )
        assert spec.duration.total_seconds() == 5400
        assert (spec.retries.on_failure, spec.resources.pids) == (2, 15)
        assert spec.resources.cpu == Decimal("0.1")

    def test_every_digit_of_an_amount(self) -> None:
        amount = "0.123456789012345678901"
        for text in (
            f"command: [a]\nbudget: {{amount: {amount}, currency: USD}}\n",
            f'{{"command": ["a"], "budget": {{"amount": {amount}, "currency": "USD"}}}}',
        ):
            spec = made(text)
            assert spec.budget is not None
            assert spec.budget.amount == Decimal(amount)


class TestTwice:
    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ('{"command": ["a"], "env": {"A": "1", "A": "2"}}', "1:38: `env.A`"),
            ('{"command": ["a"],\n\t"command": ["b"]}', "`command`"),
            ('{"command": ["a"], "env": {"A": "1", "\\u0041": "2"}}', "`env.A`"),
            ("command: [a]\nenv: {A: 1, 'A': 2}\n", "2:13: `env.A`"),
            ("command: [a]\nx-a: {b: 1, b: 2}\n", "2:13: `x-a.b`"),
            ("jobs: [{command: [a], command: [b]}]\n", "`jobs[0].command`"),
        ],
    )
    def test_refused(self, text: str, where: str) -> None:
        assert f"{where} stands there twice" in refused(text)


class TestMerge:
    def test_an_override_in_a_list(self) -> None:
        text = 'jobs: [&base {name: a, command: ["true"]}, {<<: *base, name: b}]'
        specs = [document.spec() for document in parse(text, "f.yaml")]
        assert [(spec.name, spec.command) for spec in specs] == [("a", ("true",)), ("b", ("true",))]

    def test_a_place_for_anchors(self) -> None:
        spec = made(
            "x-common: &common\n  A: 010\n  B: 1\n  <<: {A: 2, C: 3}\n"
            "x-more: &more {B: 9, D: 4}\n"
            "command: [a]\nenv:\n  B: 2\n  <<: [*common, *more]\n"
        )
        assert spec.env == {"A": "010", "B": "2", "C": "3", "D": "4"}

    def test_in_a_group(self, tmp_path: Path) -> None:
        expanded = members(
            tmp_path,
            "x-env: &env {A: 1}\njobs:\n- &base {name: a, command: [x], env: {<<: *env, B: no}}\n"
            "- {<<: *base, name: b, args: [1.0]}\n",
        )
        assert [
            (member.name, member.spec.env["A"], member.spec.env["B"]) for member in expanded
        ] == [
            ("a", "1", "no"),
            ("b", "1", "no"),
        ]
        assert expanded[1].spec.args == ("1.0",)

    def test_in_quotes_it_is_a_key(self) -> None:
        assert "`<<` is not a known field" in refused("command: [a]\n'<<': {name: b}\n")

    @pytest.mark.parametrize(
        "text",
        [
            "command: [a]\nenv: {<<: 5}\n",
            "a: &a {b: 1}\ncommand: [a]\nenv: {<<: *a, <<: *a}\n",
            "command: &a [*a]\n",
        ],
    )
    def test_malformed(self, text: str) -> None:
        assert refused(text)


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "size", "told"),
        [
            ("16gi", 16 * 2**30, "17,179,869,184 bytes (16Gi)"),
            ("4GB", 4 * 10**9, "4,000,000,000 bytes (3.7Gi)"),
            ("512Mb", 512 * 10**6, "512,000,000 bytes (488.2Mi)"),
            ("32gb", 32 * 10**9, "32,000,000,000 bytes (29.8Gi)"),
            ("8 GiB", 8 * 2**30, "8,589,934,592 bytes (8Gi)"),
            ("104857600B", 104857600, "104,857,600 bytes (100Mi)"),
        ],
    )
    def test_other_units(self, text: str, size: int, told: str) -> None:
        (document,) = parse(f"command: [a]\nresources:\n  memory: {text}\n", "f.yaml")
        assert document.spec().resources.memory == size
        assert document.notes() == [f"f.yaml:3:3: `resources.memory` `{text}` is read as {told}"]

    def test_the_usual_ones_need_no_word(self) -> None:
        (document,) = parse("command: [a]\nresources: {memory: 1G, storage: 1.5Gi}\n", "f.yaml")
        assert (document.spec().resources.memory, document.notes()) == (10**9, [])

    def test_options_and_groups(self, tmp_path: Path) -> None:
        document = RunOptions(command=["a"], memory="1gb").document()
        assert document.notes() == [
            "--memory: `resources.memory` `1gb` is read as 1,000,000,000 bytes (953.6Mi)"
        ]


class TestBraces:
    """`{index}` and `{count}` are those of an array."""

    def test_single_jobs_keep_them(self, tmp_path: Path) -> None:
        script = 'print(f"{index} of {count}")'
        assert made(f"command: [python3, -c, '{script}']\n").command[2] == script
        (single, *array) = members(
            tmp_path,
            f"jobs:\n- name: a\n  command: [python3, -c, '{script}']\n"
            "  env: {A: '{index}'}\n  labels: {l: '{count}'}\n  outputs: ['o-{index}']\n"
            "- {name: b, count: 2, command: [echo, '{index} of {count}']}\n",
        )
        assert single.spec.command[2] == script
        assert (single.spec.env["A"], single.spec.labels["l"]) == ("{index}", "{count}")
        assert single.spec.outputs == ("o-{index}",)
        assert [job.spec.command[1] for job in array] == ["0 of 2", "1 of 2"]


class TestKernel:
    """Words and variables that no program can be given are refused before anything is paid."""

    def test_a_word(self) -> None:
        assert len(made(f"command: [a]\nargs: ['{'x' * 131_071}']\n").args[0]) == 131_071
        told = refused(f"command: [a]\nargs: ['{'x' * 131_072}']\n")
        assert "f.yaml:2:8: `args[0]` is 131,073 bytes with its end" in told
        assert "MAX_ARG_STRLEN" in told

    def test_letters_of_several_bytes(self) -> None:
        assert "`args[0]` is 131,073 bytes" in refused(f"command: [a]\nargs: ['{'ä' * 65_536}']\n")

    def test_a_variable(self) -> None:
        name_and_end = len("A=") + 1
        fits = "x" * (131_072 - name_and_end)
        assert made(f"command: [a]\nenv: {{A: '{fits}'}}\n").env["A"] == fits
        assert "has 131,073 bytes with its names and may have at most 131,072" in refused(
            f"command: [a]\nenv: {{A: '{fits}x'}}\n"
        )

    def test_in_a_group(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput) as caught:
            members(tmp_path, f"jobs:\n- {{name: a, command: [x], args: ['{'x' * 131_072}']}}\n")
        assert "jobs[0].args[0]" in caught.value.details[0]


class TestVariableNames:
    @pytest.mark.parametrize("name", ["discovery.type", "a-b", "A", "_x.y-z"])
    def test_taken(self, name: str) -> None:
        assert made(f"command: [a]\nenv: {{{name}: x}}\n").env == {name: "x"}
        assert made(f"command: [a]\nsecret_env: {{{name}: x}}\n").secrets() == {name: "x"}

    @pytest.mark.parametrize("name", ["1a", "-a", ".a", "a b", "ä", "'a=b'", "''"])
    def test_refused(self, name: str) -> None:
        assert "must be letters, digits" in refused(f"command: [a]\nenv: {{{name}: x}}\n")
