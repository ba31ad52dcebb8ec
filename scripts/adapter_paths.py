"""The paths that an adapter's code calls, read from its source. Part of `truth_tables.py`."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "WS")
_PATH = re.compile(r"/[\w{}][\w{}.:/@+%-]*")


@dataclass(frozen=True)
class CodePath:
    """A path in an adapter's code. `method` is empty where it stands elsewhere in the code."""

    path: str
    method: str
    where: str


def paths_in(package: Path) -> list[CodePath]:
    """Every text in a package's code that looks like a path of a call."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    constants: dict[str, str] = {}
    for tree in trees.values():
        constants |= _constants(tree)
    paths = []
    for path, tree in sorted(trees.items()):
        name = f"{package.name}/{path.relative_to(package)}"
        paths += [
            CodePath(text, method, f"{name}:{line}")
            for text, method, line in _texts(tree, constants)
        ]
    return paths


def _constants(tree: ast.Module) -> dict[str, str]:
    constants = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            value = node.value.value
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(value, str):
                    constants[target.id] = value
    return constants


def _texts(tree: ast.Module, constants: dict[str, str]) -> Iterator[tuple[str, str, int]]:
    methods: dict[int, str] = {}
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            methods |= {id(argument): _method(node, argument) for argument in node.args}
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        text = None if id(node) in inside else _text(node, constants)
        text = text.partition("?")[0] if text else None
        if text and _PATH.fullmatch(text) and isinstance(node, ast.expr):
            yield text, methods.get(id(node), ""), node.lineno


def _text(node: ast.AST, constants: dict[str, str]) -> str | None:
    """A text of the code, with `{}` for what is only known when it runs."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if not isinstance(node, ast.JoinedStr):
        return None
    parts = []
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value))
        elif isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name):
            parts.append(constants.get(part.value.id, "{}"))
        else:
            parts.append("{}")
    return "".join(parts)


def _method(call: ast.Call, path: ast.expr) -> str:
    """The HTTP method that stands before a path in a call, or in the name of what is called."""
    for argument in call.args[: call.args.index(path)]:
        if isinstance(argument, ast.Constant) and argument.value in METHODS:
            return str(argument.value)
    is_get = isinstance(call.func, ast.Attribute) and call.func.attr == "get"
    return "GET" if is_get else ""
