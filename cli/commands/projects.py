"""`projects`."""

from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput
from cli.state import State, state_of
from cortex.domain.projects import Project
from cortex.domain.rights import Role

app = typer.Typer()
projects_app = typer.Typer(no_args_is_help=True, help="To whom jobs belong, and who is in it.")
app.add_typer(projects_app, name="projects")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a project.")]
Member = Annotated[str, typer.Argument(metavar="USER", help="Name of a user.")]
Description = Annotated[str, typer.Option(help="What it is for.")]


@projects_app.command("list")
def list_projects(ctx: typer.Context) -> None:
    """List the projects that you may know of. Your own, of your name, is not among them."""
    state = state_of(ctx)
    with state.client() as cortex:
        projects = cortex.projects()
    if state.json:
        render.print_json(*projects)
    elif not projects:
        render.say(state, "there is no project; `cortex projects create` makes one (admins)")
    else:
        rows = [
            (each.name, str(len(each.members)), _state(each), each.description) for each in projects
        ]
        render.table(state, ("NAME", "MEMBERS", "STATE", "FOR"), rows, right=(1,))


@projects_app.command("show")
def show(ctx: typer.Context, name: Name) -> None:
    """Show a project: who is in it, and as what."""
    state = state_of(ctx)
    with state.client() as cortex:
        project = cortex.project(name)
    if state.json:
        render.print_json(project)
        return
    words = f": {project.description}" if project.description else ""
    render.say(state, f"`{name}` ({_state(project)}){words}")
    rows = [
        (each.name, each.role.value, render.clock(each.added_at), each.added_by)
        for each in project.members
    ]
    if rows:
        render.table(state, ("MEMBER", "ROLE", "SINCE", "ADDED BY"), rows)
    else:
        render.say(state, f"nobody is in it; `cortex projects member {name} USER` lets them in")


@projects_app.command("create")
def create(ctx: typer.Context, name: Name, description: Description = "") -> None:
    """Make a project (admins). Nobody is in it yet."""
    state = state_of(ctx)
    with state.client() as cortex:
        project = cortex.create_project(name, description)
    _done(state, project, f"project `{name}` was made; `cortex projects member {name} USER` next")


@projects_app.command("set")
def change(
    ctx: typer.Context,
    name: Name,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    archived: Annotated[
        bool | None, typer.Option("--archive/--reopen", help="Archived, it takes no new jobs.")
    ] = None,
) -> None:
    """Describe, archive or reopen a project."""
    state = state_of(ctx)
    if description is None and archived is None:
        raise BadInput("say what to change: --description, --archive/--reopen")
    with state.client() as cortex:
        project = cortex.update_project(name, description=description, archived=archived)
    _done(state, project, f"project `{name}` is {_state(project)}")


@projects_app.command("member")
def member(
    ctx: typer.Context,
    name: Name,
    user: Member,
    role: Annotated[Role, typer.Option(help="What they are there.")] = Role.DEVELOPER,
    remove: Annotated[bool, typer.Option("--remove", help="Not any more.")] = False,
) -> None:
    """Let somebody into a project, give them another role, or remove them; it holds at once."""
    state = state_of(ctx)
    with state.client() as cortex:
        if remove:
            cortex.remove_member(name, user)
            if not state.json:
                render.say(state, f"`{user}` is not in `{name}` any more")
            return
        project = cortex.put_member(name, user, role)
    _done(state, project, f"`{user}` is {role.value} in `{name}`")


def _state(project: Project) -> str:
    return "open" if project.archived_at is None else "archived"


def _done(state: State, project: Project, words: str) -> None:
    if state.json:
        render.print_json(project)
    else:
        render.say(state, words)
