"""`webhooks`."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.errors import BadInput, ExitCode
from cli.state import state_of
from cli.templates import assignment
from cortex.domain.webhooks import Delivery, DeliveryState, JobFilter, Webhook

if TYPE_CHECKING:
    from cortex.client import Cortex

_PING = 60.0
_LONGEST = 100
app = typer.Typer()
webhooks_app = typer.Typer(no_args_is_help=True, help="Have events sent to a URL.")
app.add_typer(webhooks_app, name="webhooks")

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a webhook.")]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event", metavar="TYPE", help="`job.state.changed`, `job.*`; again for more. Else all."
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Only of jobs with this label; all match."),
]
Group = Annotated[str | None, typer.Option(help="Only of this group and its members.")]
Owner = Annotated[str | None, typer.Option(help="Only of this one's jobs.")]
Project = Annotated[str | None, typer.Option(help="Only in this project.")]
Headers = Annotated[
    list[str] | None,
    typer.Option(
        "--header", metavar="NAME=VALUE", help="Sent along, its value kept secret; again for more."
    ),
]
Description = Annotated[str | None, typer.Option(help="What it is for.")]


@webhooks_app.command("list")
def list_webhooks(
    ctx: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    of_project: Annotated[
        str | None, typer.Option(metavar="PROJECT", help="Only those of this project.")
    ] = None,
) -> None:
    """List webhooks: one's own and those of one's projects, for operators and admins all."""
    state = state_of(ctx)
    with state.client() as cortex:
        webhooks = cortex.webhooks(owner, project=of_project)
    if state.json:
        render.print_json(*webhooks)
    elif not webhooks:
        render.say(state, "there is no webhook; `cortex webhooks create URL` makes one")
    else:
        heading = ("ID", "OWNER", "URL", "EVENTS", "STATE", "WAITING", "DEAD", "DESCRIPTION")
        render.table(
            state, heading, [_row(webhook) for webhook in webhooks], right=(5, 6), spare=(7, 3)
        )


@webhooks_app.command("create")
def create(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where events are sent.")],
    event: Events = None,
    label: Labels = None,
    group: Group = None,
    owner: Owner = None,
    project: Project = None,
    header: Headers = None,
    description: Description = None,
    of_project: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT", help="It belongs to this project, and gets the events of all there."
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Send nothing yet.")] = False,
) -> None:
    """Make a webhook, and print its secret: it is nowhere to be had again."""
    state = state_of(ctx)
    with state.client() as cortex:
        made = cortex.create_webhook(
            url,
            events=event or None,
            jobs=_jobs(label, group, owner, project),
            headers=_pairs(header, "--header"),
            description=description,
            enabled=not off,
            project=of_project,
        )
    if state.json:
        render.print_json(made)
        return
    render.say(state, f"webhook `{made.info.id}`; its secret is shown only now:")
    print(made.secret)


@webhooks_app.command("show")
def show(ctx: typer.Context, webhook_id: Id) -> None:
    """Show a webhook: what it gets, and how it does."""
    state = state_of(ctx)
    with state.client() as cortex:
        webhook = cortex.webhook(webhook_id)
    if state.json:
        render.print_json(webhook)
        return
    jobs = webhook.jobs
    labels = [f"{name}={value}" for name, value in jobs.labels.items()]
    render.fields(
        state,
        [
            ("id", webhook.id),
            ("url", webhook.url),
            ("description", webhook.description),
            ("owner", webhook.owner),
            ("project", webhook.project),
            ("events", " ".join(webhook.events)),
            ("labels", " ".join(labels)),
            ("group", jobs.group or ""),
            ("of", jobs.owner or ""),
            ("in", jobs.project or ""),
            ("headers", " ".join(webhook.headers)),
            ("state", _state(webhook)),
            ("why", webhook.disabled_reason),
            ("old secret", _until(webhook)),
            ("waiting", str(webhook.waiting)),
            ("dead", str(webhook.dead)),
            ("since", render.clock(webhook.created_at)),
        ],
    )


@webhooks_app.command("update")
def update(
    ctx: typer.Context,
    webhook_id: Id,
    url: Annotated[str | None, typer.Option(help="Where events are sent.")] = None,
    event: Events = None,
    label: Labels = None,
    group: Group = None,
    owner: Owner = None,
    project: Project = None,
    all_jobs: Annotated[
        bool, typer.Option("--all-jobs", help="Of all jobs again, whatever was chosen.")
    ] = False,
    header: Headers = None,
    drop_header: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Send it no more; again for more.")
    ] = None,
    description: Description = None,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="Whether it is sent.")] = None,
    skip_missed: Annotated[
        bool, typer.Option("--skip-missed", help="Forget what happened while it was off.")
    ] = False,
) -> None:
    """Change a webhook. What is given of labels, group, owner and project is all."""
    state = state_of(ctx)
    headers: dict[str, str | None] = {**(_pairs(header, "--header") or {})}
    headers |= dict.fromkeys(drop_header or ())
    jobs = JobFilter() if all_jobs else _jobs(label, group, owner, project)
    given = (url, event, jobs, headers or None, description, enabled)
    if all(value is None for value in given) and not skip_missed:
        raise BadInput("say what to change; `cortex webhooks update --help` lists it")
    with state.client() as cortex:
        webhook = cortex.update_webhook(
            webhook_id,
            url=url,
            events=event or None,
            jobs=jobs,
            headers=headers or None,
            description=description,
            enabled=enabled,
            skip_missed=skip_missed,
        )
    if state.json:
        render.print_json(webhook)
    else:
        render.say(state, f"webhook `{webhook.id}` was changed; it is {_state(webhook)}")


@webhooks_app.command("delete")
def delete(
    ctx: typer.Context,
    webhook_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of webhooks.")],
) -> None:
    """Take webhooks away, and all that waits for them."""
    state = state_of(ctx)
    with state.client() as cortex:
        for webhook_id in webhook_ids:
            cortex.delete_webhook(webhook_id)
            if not state.json:
                render.say(state, f"webhook `{webhook_id}` was taken away")


@webhooks_app.command("ping")
def ping(ctx: typer.Context, webhook_id: Id) -> None:
    """Send a test, and wait for what comes of it. Ends with 1 if it was not taken."""
    state = state_of(ctx)
    with state.client() as cortex:
        ended = _ended(cortex, webhook_id, cortex.ping_webhook(webhook_id))
    if state.json:
        render.print_json(ended)
    elif ended.state is DeliveryState.PENDING:
        render.say(state, f"no worker has sent `{ended.id}` within {_PING:g} s")
    else:
        attempt = ended.log[-1]
        told = attempt.error or f"it was taken: {attempt.status}"
        render.say(state, f"{told} ({attempt.seconds:g} s)")
        if attempt.body:
            print(attempt.body)
    taken = ended.state is DeliveryState.DELIVERED
    raise typer.Exit(ExitCode.OK if taken else ExitCode.FAILED)


@webhooks_app.command("rotate")
def rotate(
    ctx: typer.Context,
    webhook_id: Id,
    overlap: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long the old one signs as well; else a day."),
    ] = None,
) -> None:
    """Make a new secret, and print it: it is nowhere to be had again."""
    state = state_of(ctx)
    with state.client() as cortex:
        made = cortex.rotate_webhook_secret(webhook_id, overlap)
    if state.json:
        render.print_json(made)
        return
    until = render.clock(made.info.previous_until)
    render.say(state, f"the old secret signs as well until {until}; the new one is shown only now:")
    print(made.secret)


@webhooks_app.command("deliveries")
def list_deliveries(
    ctx: typer.Context,
    webhook_id: Id,
    state_: Annotated[
        list[DeliveryState] | None, typer.Option("--state", help="Only in this; again for more.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
) -> None:
    """List what was sent and is to be, the newest first."""
    state = state_of(ctx)
    with state.client() as cortex:
        page = cortex.webhook_deliveries(webhook_id, states=state_ or (), limit=limit)
    if state.json:
        render.print_json(*page.items)
        return
    if not page.items:
        render.say(state, "there is no such delivery")
        return
    heading = ("ID", "TIME", "TYPE", "SUBJECT", "STATE", "TRIES", "NEXT", "LAST ANSWER")
    render.table(state, heading, [_delivery(each) for each in page.items], right=(5,), spare=(3, 6))
    if page.next_cursor is not None:
        render.say(state, f"the newest {limit}; --limit shows more")


@webhooks_app.command("redeliver")
def redeliver(
    ctx: typer.Context,
    webhook_id: Id,
    delivery_id: Annotated[
        str | None, typer.Argument(metavar="DELIVERY", help="Id of one that has ended.")
    ] = None,
    dead: Annotated[bool, typer.Option("--dead", help="All dead ones.")] = False,
) -> None:
    """Send again one delivery, or all that are dead, with the same id as before."""
    state = state_of(ctx)
    if (delivery_id is None) is not dead:
        raise BadInput("give the id of a delivery, or --dead for all that are dead")
    with state.client() as cortex:
        count = cortex.redeliver_webhook(webhook_id, delivery_id)
    if not state.json:
        render.say(state, f"{count} {'is' if count == 1 else 'are'} sent again")


def _ended(cortex: "Cortex", webhook_id: str, delivery: Delivery) -> Delivery:
    until = time.monotonic() + _PING
    while delivery.state is DeliveryState.PENDING and time.monotonic() < until:
        time.sleep(0.2)
        delivery = cortex.webhook_delivery(webhook_id, delivery.id)
    return delivery


def _jobs(
    labels: Sequence[str] | None, group: str | None, owner: str | None, project: str | None
) -> JobFilter | None:
    if not labels and group is None and owner is None and project is None:
        return None
    chosen = _pairs(labels, "--label") or {}
    return JobFilter(labels=chosen, group=group, owner=owner, project=project)


def _pairs(given: Sequence[str] | None, option: str) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for text in given or ():
        name, value = assignment(option, text)
        if name in pairs:
            raise BadInput(f"{option} `{name[:60]}` is given twice")
        pairs[name] = value
    return pairs or None


def _row(webhook: Webhook) -> tuple[str, ...]:
    return (
        webhook.id,
        f"{webhook.owner} in {webhook.project}" if webhook.shared else webhook.owner,
        webhook.url,
        " ".join(webhook.events),
        _state(webhook),
        str(webhook.waiting),
        str(webhook.dead),
        webhook.description,
    )


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return "disabled"
    return "failing" if webhook.failing_since is not None else "ok"


def _until(webhook: Webhook) -> str:
    until = webhook.previous_until
    return "" if until is None else f"signs as well until {render.clock(until)}"


def _delivery(delivery: Delivery) -> tuple[str, ...]:
    last = delivery.log[-1] if delivery.log else None
    told = "" if last is None else last.error or str(last.status)
    return (
        delivery.id,
        render.clock(delivery.created_at),
        delivery.event_type,
        delivery.subject,
        delivery.state.value,
        str(delivery.attempts),
        render.clock(delivery.due_at),
        told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…",
    )
