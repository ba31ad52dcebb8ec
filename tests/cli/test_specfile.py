"""Job files and options: what is wrong is told with its place."""

from decimal import Decimal
from pathlib import Path

import pytest

from cli.errors import BadInput
from cli.options import RunOptions
from cli.specfile import load, parse
from cortex.domain.spec.notify import JobNotice

GROUPS = {"array.yaml", "group.yaml", "pipeline.yaml"}
EXAMPLES = [path for path in sorted(Path("examples").glob("*.yaml")) if path.name not in GROUPS]


def refused(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        [document.spec() for document in parse(text, "f.yaml")]
    return caught.value


class TestPlaces:
    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("name: x\ncommand: [a]\nfoo: 1\n", "f.yaml:3:1: `foo` is not a known field"),
            (
                "command: [a]\nresources:\n  memory: 3q\n",
                "f.yaml:3:3: `resources.memory` `3q` is no",
            ),
            (
                "command: [a]\nresources: {cpu: -1}\n",
                "f.yaml:2:13: `resources.cpu` must be greater",
            ),
            ("name: x\ncommand: []\n", "f.yaml:1:1: needs an `image`, a `command`, or both"),
            (
                "render:\n  scene: /a.blend\n  frames: 5-1\n",
                "f.yaml:3:3: `render.frames` has `5-1`, which ends before it begins",
            ),
            ("command: ['']\n", "f.yaml:1:1: `command` must begin with a program"),
            ("command: [a]\nbudget: 5\n", "f.yaml:2:1: `budget` has no currency"),
            ("command: [a]\nports:\n- port: 80\n- port: 99999\n", "f.yaml:4:3: `ports[1].port`"),
            ("command: [a]\nduration: 5 parsecs\n", "f.yaml:2:1: `duration` `5 parsecs` is no"),
            ("command: [a]\nenv: {A: [1]}\n", "f.yaml:2:7: `env.A`"),
            ('{"command": ["a"],\n "foo": 1}', "f.yaml:2:2: `foo`"),
        ],
    )
    def test_field(self, text: str, place: str) -> None:
        assert refused(text).details[0].startswith(place)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("name: x\ncommand: [a\nfoo: 1", "f.yaml:3:4: no valid YAML: expected ','"),
            ("a: b\n\tc: d", "f.yaml:2:1: no valid YAML"),
            ("name: a\nname: b\n", "f.yaml:2:1: `name` stands there twice"),
            ("- 1\n", "f.yaml:1: a job is a mapping"),
            ("just words", "f.yaml:1: a job is a mapping"),
            ("", "f.yaml holds no job"),
            ("---\n---\n", "f.yaml holds no job"),
            ("jobs: 5", "f.yaml: `jobs` must be a list"),
            ("jobs: [5]", "f.yaml:1:8: `jobs[0]` must be a job, not a number"),
            ("!!python/object:os.system {}", "f.yaml:1:1: no valid YAML"),
        ],
    )
    def test_file(self, text: str, message: str) -> None:
        assert refused(text).message.startswith(message)

    def test_second_of_several(self) -> None:
        error = refused("jobs:\n- command: [a]\n- comand: [b]\n")
        assert error.message == "f.yaml (jobs[1]) is no valid job"
        assert error.details[0] == "f.yaml:3:3: `comand` is not a known field"

    def test_documents_and_lists_together(self) -> None:
        documents = parse("command: [a]\n---\njobs:\n- command: [b]\n- command: [c]\n", "f")
        assert [document.spec().command for document in documents] == [("a",), ("b",), ("c",)]

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="there is no file"):
            load(str(tmp_path / "nothing.yaml"))
        with pytest.raises(BadInput, match="cannot be read"):
            load(str(tmp_path))
        (tmp_path / "bin").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(BadInput, match="no UTF-8"):
            load(str(tmp_path / "bin"))

    @pytest.mark.parametrize("name", sorted(GROUPS))
    def test_a_group_is_no_list_of_jobs(self, name: str) -> None:
        with pytest.raises(BadInput) as caught:
            load(f"examples/{name}")
        assert caught.value.details == (f"run it as one: cortex group run examples/{name}",)

    @pytest.mark.parametrize("path", EXAMPLES, ids=str)
    def test_examples_are_valid(self, path: Path) -> None:
        assert [document.spec() for document in load(str(path))]


class TestOptions:
    def test_all_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TOKEN", "from-env")
        options = RunOptions(
            image="busybox:1.36",
            command=["echo", "--json"],
            cpu="250m",
            memory="64Mi",
            gpu="a100:2",
            env=["A=b=c", "EMPTY="],
            secret_env=["TOKEN", "OTHER=x"],
            labels=["team=x"],
            ports=["8080", "53/udp"],
            providers=["docker"],
            duration="10m",
            budget="1 USD",
            max_price="0.5 EUR",
            retries=2,
            outputs=["out"],
            overrides=["resources.pids=5", "read_only_root=true"],
        )
        spec = options.document().spec()
        assert spec.name == "echo"
        assert spec.command == ("echo", "--json")
        assert spec.env == {"A": "b=c", "EMPTY": ""}
        assert spec.secrets() == {"TOKEN": "from-env", "OTHER": "x"}
        assert [(port.port, port.protocol) for port in spec.ports] == [(8080, "tcp"), (53, "udp")]
        assert spec.resources.gpu is not None
        assert (spec.resources.gpu.model, spec.resources.gpu.count) == ("a100", 2)
        assert (spec.resources.pids, spec.read_only_root) == (5, True)
        assert spec.retries.on_failure == 2

    def test_whom_to_tell(self) -> None:
        notify = RunOptions(command=["a"], notify=["failed", "stuck"]).document().spec().notify
        assert notify is not None
        assert (notify.on, notify.to) == ((JobNotice.FAILED, JobNotice.STUCK), ("me",))
        with pytest.raises(BadInput) as refused:
            RunOptions(command=["a"], notify=["ended"]).document().spec()
        assert "notify.on[0]" in f"{refused.value} {refused.value.details}"

    def test_options_change_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_text("command: [a]\nenv: {A: 1, B: 2}\nresources: {cpu: 1, memory: 64Mi}\n")
        spec = RunOptions(file=str(path), cpu="2", env=["B=3"]).document().spec()
        assert spec.env == {"A": "1", "B": "3"}
        assert (spec.resources.cpu, spec.resources.memory) == (Decimal(2), 64 * 2**20)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (RunOptions(), "nothing to run"),
            (RunOptions(command=["a"], env=["X"]), "--env `X`: write it as KEY=VALUE"),
            (RunOptions(command=["a"], secret_env=["NOT_SET_9"]), "no such variable"),
            (RunOptions(command=["a"], ports=["http"]), "--port `http`"),
            (RunOptions(command=["a"], overrides=["x"]), "--set `x`"),
            (RunOptions(file="a", command=["b"]), "not both"),
            (RunOptions(file="examples/batch.yaml"), "holds 3 jobs"),
        ],
    )
    def test_malformed(self, options: RunOptions, message: str) -> None:
        with pytest.raises(BadInput, match=message):
            options.document()

    def test_an_error_names_the_option(self) -> None:
        with pytest.raises(BadInput) as caught:
            RunOptions(command=["a"], memory="3q", max_price="5").document().spec()
        assert [line.split(":")[0] for line in caught.value.details] == ["--memory", "--max-price"]


def test_a_scene_is_named_as_seen_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "shots" / "job.yaml"
    file.parent.mkdir()
    file.write_text("render: {scene: ../scenes/a.blend, frames: 1}\n")
    render = load(str(file))[0].spec().render
    assert render is not None
    assert render.scene == str(tmp_path / "scenes" / "a.blend")
    file.write_text("render: {scene: 'https://host/a.blend', frames: 1}\n")
    render = load(str(file))[0].spec().render
    assert render is not None
    assert render.scene == "https://host/a.blend"
