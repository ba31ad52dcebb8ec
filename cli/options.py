"""From the options of `cortex run` to a job."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from cli.errors import BadInput
from cli.specfile import Document, load, put, set_field


@dataclass(frozen=True)
class RunOptions:
    """The options as they were given; None and empty: not given."""

    file: str | None = None
    image: str | None = None
    command: Sequence[str] | None = None
    name: str | None = None
    workdir: str | None = None
    cpu: str | None = None
    memory: str | None = None
    storage: str | None = None
    gpu: str | None = None
    env: Sequence[str] = ()
    secret_env: Sequence[str] = ()
    project_secrets: Sequence[str] = ()
    labels: Sequence[str] = ()
    ports: Sequence[str] = ()
    providers: Sequence[str] = ()
    regions: Sequence[str] = ()
    strategy: str | None = None
    duration: str | None = None
    budget: str | None = None
    max_price: str | None = None
    retries: int | None = None
    notify: Sequence[str] = ()
    outputs: Sequence[str] = ()
    overrides: Sequence[str] = field(default=())

    def document(self) -> Document:
        """The job: the file's, with the options on top.

        Raises:
            BadInput: no job is named, or more than one, or an option is malformed.
        """
        document = self._base()
        simple = {
            "image": ("--image", self.image),
            "name": ("--name", self.name),
            "workdir": ("--workdir", self.workdir),
            "resources.cpu": ("--cpu", self.cpu),
            "resources.memory": ("--memory", self.memory),
            "resources.storage": ("--storage", self.storage),
            "placement.strategy": ("--strategy", self.strategy),
            "placement.max_price": ("--max-price", self.max_price),
            "placement.providers": ("--provider", list(self.providers) or None),
            "placement.regions": ("--region", list(self.regions) or None),
            "duration": ("--duration", self.duration),
            "budget": ("--budget", self.budget),
            "retries": ("--retries", self.retries),
            "notify.on": ("--notify", list(self.notify) or None),
            "outputs": ("--output", list(self.outputs) or None),
        }
        for path, (option, value) in simple.items():
            if value is not None:
                put(document, path, value, option)
        self._put_pairs(document)
        if self.gpu:
            put(document, "resources.gpu", _gpu(self.gpu), "--gpu")
        if self.ports:
            put(document, "ports", [_port(text) for text in self.ports], "--port")
        for assignment in self.overrides:
            set_field(document, assignment)
        return document

    def _base(self) -> Document:
        if self.file is not None:
            if self.image is not None or self.command is not None:
                raise BadInput("give either a FILE, or --image and a command after `--`, not both")
            documents = load(self.file)
            if len(documents) > 1:
                raise BadInput(
                    f"{self.file} holds {len(documents)} jobs; `cortex run` follows one",
                    details=[f"submit all of them: cortex submit {shlex.quote(self.file)} --wait"],
                )
            return documents[0]
        if self.image is None and not self.command:
            raise BadInput(
                "nothing to run",
                details=[
                    "a file:       cortex run examples/hello.yaml",
                    "a command:    cortex run -- echo hello",
                    "a container:  cortex run --image busybox:1.36 -- echo hello",
                ],
            )
        document = Document("the command line", {})
        if self.command:
            put(document, "command", list(self.command), "the command after `--`")
            if self.name is None:
                document.data["name"] = _name_of(self.command[0])
        return document

    def _put_pairs(self, document: Document) -> None:
        env = dict(_pair(text, "--env") for text in self.env)
        secrets: dict[str, Any] = dict(_secret(text) for text in self.secret_env)
        for text in self.project_secrets:
            variable, name = _pair(text, "--project-secret")
            secrets[variable] = {"secret": name}
        labels = dict(_pair(text, "--label") for text in self.labels)
        option = "--project-secret" if self.project_secrets else "--secret-env"
        pairs = (("env", "--env", env), ("secret_env", option, secrets))
        for path, option, values in (*pairs, ("labels", "--label", labels)):
            old = document.data.get(path)
            if values:
                merged = {**(old if isinstance(old, dict) else {}), **values}
                put(document, path, merged, option)


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """Labels from `--label key=value`."""
    return dict(_pair(text, "--label") for text in texts)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise BadInput(f"{option} `{text}`: write it as KEY=VALUE")
    return name, value


def _secret(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if equals and name:
        return name, value
    if name not in os.environ:
        raise BadInput(
            f"--secret-env `{name}`: there is no such variable in your environment",
            details=[f"set it (export {name}=...), or write --secret-env {name or 'KEY'}=VALUE"],
        )
    return name, os.environ[name]


def _gpu(text: str) -> dict[str, Any]:
    """`1`, `a100` or `a100:2`."""
    if _is_count(text):
        return {"count": int(text)}
    model, _, count = text.partition(":")
    if count and not _is_count(count):
        raise BadInput(f"--gpu `{text}`: write a number, a model, or both as `a100:2`")
    return {"model": model, "count": int(count or 1)}


def _port(text: str) -> dict[str, Any]:
    """`8080` or `8080/udp`."""
    number, _, protocol = text.partition("/")
    if not _is_count(number):
        raise BadInput(f"--port `{text}`: write a number such as `8080` or `53/udp`")
    return {"port": int(number), "protocol": protocol or "tcp"}


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _name_of(program: str) -> str:
    """A job name from the program's, where one can be made."""
    text = "".join(c if c.isascii() and c.isalnum() else "-" for c in PurePosixPath(program).name)
    return text.lower().strip("-")[:63].strip("-") or "job"
