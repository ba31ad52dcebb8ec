"""`templates`."""

from typing import Annotated, Any

import typer

from cli import render
from cli.errors import BadInput, CliError, ExitCode
from cli.specfile import Document, load_whole
from cli.state import State, state_of
from cli.templates import Named, filling_of, find_template
from cortex.client import LAST_SEEN, ApiError
from cortex.domain.templates import Template
from cortex.domain.templates.parameters import Parameter
from cortex.schemas.templates import TemplateCreate

app = typer.Typer()
templates_app = typer.Typer(no_args_is_help=True, help="Keep specs with parameters, by name.")
app.add_typer(templates_app, name="templates")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a template.")]
At = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A template; without version its latest.")
]
File = Annotated[
    str,
    typer.Argument(help="YAML or JSON with `parameters` and a `job` or `group`; `-`: stdin."),
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Of a parameter; again for more."),
]
_FORM = "a template is one mapping with a `job` or `group`; see examples/templates/greet.yaml"
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Any field of the spec: `resources.cpu=2`.")
]


@templates_app.command("list")
def list_templates(ctx: typer.Context) -> None:
    """List templates, the newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        found = tuple(cortex.iter_templates(project=state.project))
    if state.json:
        render.print_json(*found)
    elif not found:
        render.say(state, "there is no template; `cortex templates create FILE` makes one")
    else:
        heading = ("NAME", "PROJECT", "KIND", "VERSION", "CHANGED", "BY", "DESCRIPTION")
        rows = [
            (
                each.name,
                each.project,
                each.kind,
                str(each.version),
                render.clock(each.updated_at),
                each.owner,
                each.description.partition("\n")[0],
            )
            for each in found
        ]
        render.table(state, heading, rows, right=(3,), spare=(6,))


@templates_app.command("create")
def create(
    ctx: typer.Context,
    file: File,
    name: Annotated[str | None, typer.Option(help="Else the `name` in the file.")] = None,
) -> None:
    """Make a template, in your project or that of --project."""
    state = state_of(ctx)
    document = load_whole(file, TemplateCreate, _FORM)
    fields = {**document.data, **({} if name is None else {"name": name})}
    with state.client() as cortex:
        try:
            made = cortex.create_template(fields)
        except ApiError as error:
            raise _placed(error, document) from None
    _tell(state, made)


@templates_app.command("update")
def update(
    ctx: typer.Context,
    name: Name,
    file: File,
    if_version: Annotated[
        int | None,
        typer.Option("--if-version", min=1, help="Only if this is still the latest version."),
    ] = None,
) -> None:
    """Make the next version of a template. What the file does not have stays."""
    state = state_of(ctx)
    document = load_whole(file, TemplateCreate, _FORM)
    fields = {key: value for key, value in document.data.items() if key != "name"}
    with state.client() as cortex:
        present = cortex.template(find_template(state, cortex, name).id)
        if if_version not in (None, present.version):
            raise CliError(
                f"template `{name}` is at version {present.version} and not {if_version}: others "
                "have changed it",
                details=(f"`cortex templates show {name}` shows it",),
                code="precondition_failed",
                exit_code=ExitCode.CONFLICT,
            )
        try:
            made = cortex.update_template(present.id, fields, if_match=LAST_SEEN)
        except ApiError as error:
            raise _placed(error, document) from None
    _tell(state, made)


@templates_app.command("show")
def show(ctx: typer.Context, template: At) -> None:
    """Show a template: its parameters, and the spec that they are filled into."""
    state, named = state_of(ctx), Named.of(template)
    with state.client() as cortex:
        shown = cortex.template(find_template(state, cortex, named.name).id, named.version)
    if state.json:
        render.print_json(shown)
        return
    render.fields(
        state,
        [
            ("template", f"{shown.name}@{shown.version}"),
            ("latest", str(shown.latest)),
            ("id", shown.id),
            ("project", shown.project),
            ("owner", shown.owner),
            ("made", f"{render.clock(shown.created_at)} by {shown.created_by}"),
            ("description", shown.description),
        ],
    )
    if shown.parameters:
        rows = [_row(name, parameter) for name, parameter in shown.parameters.items()]
        render.table(state, ("PARAMETER", "TYPE", "DEFAULT", "RULES", "DESCRIPTION"), rows)
    render.heading(state, shown.kind)
    print(render.indented(shown.spec))


@templates_app.command("versions")
def versions(ctx: typer.Context, name: Name) -> None:
    """List the versions of a template, the newest first."""
    state = state_of(ctx)
    found: list[Template] = []
    with state.client() as cortex:
        template_id, cursor = find_template(state, cortex, name).id, None
        while True:
            page = cortex.template_versions(template_id, limit=100, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    if state.json:
        render.print_json(*found)
        return
    rows = [
        (
            str(each.version),
            render.clock(each.created_at),
            each.created_by,
            each.description.partition("\n")[0],
        )
        for each in found
    ]
    render.table(state, ("VERSION", "MADE", "BY", "DESCRIPTION"), rows, right=(0,), spare=(3,))


@templates_app.command("delete")
def delete(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of templates.")],
) -> None:
    """Take templates away with all their versions. What was made from them goes on."""
    state = state_of(ctx)
    with state.client() as cortex:
        for name in names:
            cortex.delete_template(find_template(state, cortex, name).id)
            if not state.json:
                render.say(state, f"template `{name}` was taken away")


@templates_app.command("preview")
def preview(ctx: typer.Context, template: At, param: Params = None, set_: Overrides = None) -> None:
    """Show the spec that a template becomes; nothing is submitted (`cortex submit --template`)."""
    state, named = state_of(ctx), Named.of(template)
    filling = filling_of(named, param, set_)
    with state.client() as cortex:
        told = cortex.preview_template(find_template(state, cortex, named.name).id, filling)
    render.print_json(told) if state.json else print(render.indented(told.spec))


def _tell(state: State, made: Template) -> None:
    if state.json:
        render.print_json(made)
    else:
        render.say(state, f"template `{made.name}@{made.version}` in project `{made.project}`")


def _row(name: str, parameter: Parameter) -> tuple[str, ...]:
    default = "" if parameter.must_be_given else "(left out)"
    rules: dict[str, Any] = parameter.model_dump(
        mode="json",
        exclude_none=True,
        include={"min", "max", "min_length", "max_length", "pattern", "choices"},
    )
    told = [
        f"{key} {'|'.join(value) if isinstance(value, list) else value}"
        for key, value in rules.items()
    ]
    return (
        name,
        parameter.type,
        default if parameter.default is None else parameter.default,
        ", ".join(told),
        parameter.description,
    )


def _placed(error: ApiError, document: Document) -> Exception:
    """The server's refusal with the places in the file that it speaks of."""
    if error.code != "invalid_request" or not error.errors:
        return error
    return BadInput("the server refuses this", details=document.places(error.errors))
