"""`run`, `submit`, `validate`, `quote`."""

import asyncio
from typing import Annotated

import typer

from cli import render
from cli.errors import BadInput, CliError, ExitCode
from cli.follow import exit_code, follow_job, summary, unpacked
from cli.local import ensure_server
from cli.options import RunOptions
from cli.quotes import show_quote
from cli.specfile import Document, load
from cli.state import State, state_of
from cli.templates import Named, filling_of, find_template
from cortex.client import ApiError, AsyncCortex, Filling
from cortex.domain.errors import FieldError
from cortex.domain.groups.states import GroupState
from cortex.domain.money import Money
from cortex.domain.spec import JobSpec
from cortex.domain.states import JobState
from cortex.schemas.groups import GroupView
from cortex.schemas.jobs import AcceptedJob, JobView, Validation

app = typer.Typer()
Files = Annotated[list[str], typer.Argument(help="YAML or JSON files; `-`: standard input.")]
MaybeFiles = Annotated[
    list[str] | None, typer.Argument(help="YAML or JSON files; `-`: standard input.")
]
File = Annotated[str, typer.Argument(help="A YAML or JSON file; `-`: standard input.")]
_MAX_BATCH = 1000
_AT_ONCE = 20


@app.command("run")
def run(
    ctx: typer.Context,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE] [-- COMMAND...]", help="A YAML or JSON file; `-`: standard input."
        ),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Container image; none: a process.")] = None,
    name: Annotated[str | None, typer.Option(help="The job's name.")] = None,
    workdir: Annotated[str | None, typer.Option(help="Folder to run in.")] = None,
    cpu: Annotated[str | None, typer.Option(help="Cores: `2`, `0.5`, `250m`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory: `512Mi`, `4Gi`.")] = None,
    storage: Annotated[str | None, typer.Option(help="Scratch space: `10Gi`.")] = None,
    gpu: Annotated[str | None, typer.Option(help="GPUs: `1`, `a100`, `a100:2`.")] = None,
    env: Annotated[list[str] | None, typer.Option("--env", "-e", help="KEY=VALUE.")] = None,
    secret_env: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE, or KEY to take it from your environment; kept encrypted."),
    ] = None,
    project_secret: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=NAME", help="From the secret NAME of the project."),
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="KEY=VALUE.")] = None,
    port: Annotated[list[str] | None, typer.Option(help="Port: `8080`, `53/udp`.")] = None,
    provider: Annotated[list[str] | None, typer.Option(help="Allowed provider id.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Allowed region.")] = None,
    strategy: Annotated[str | None, typer.Option(help="cost, performance or availability.")] = None,
    duration: Annotated[str | None, typer.Option(help="Hard deadline: `10m`, `2h`.")] = None,
    budget: Annotated[str | None, typer.Option(help="Most it may cost: `0.50 USD`.")] = None,
    max_price: Annotated[str | None, typer.Option(help="Most per hour: `0.10 USD`.")] = None,
    retries: Annotated[int | None, typer.Option(help="Starts anew when it fails.")] = None,
    notify: Annotated[
        list[str] | None,
        typer.Option(metavar="EVENT", help="Tell me: failed, completed, stuck, …; again for more."),
    ] = None,
    output: Annotated[
        list[str] | None, typer.Option("--output", "-o", help="File or folder to keep.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any field: `resources.cpu=2`.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds to follow it; then it goes on alone.", min=0)
    ] = None,
) -> None:
    """Submit a job and follow it: states, output, bill. Ends with the job's exit code.

    What: a FILE, or a command after `--` (with --image: in a container), such as
    `cortex run --image busybox:1.36 -- echo hello`. Options change what the file says.
    States go to stderr, the job's output to stdout.
    """
    state = state_of(ctx)
    options = RunOptions(
        file=file,
        image=image,
        command=state.tail,
        name=name,
        workdir=workdir,
        cpu=cpu,
        memory=memory,
        storage=storage,
        gpu=gpu,
        env=env or (),
        secret_env=secret_env or (),
        project_secrets=project_secret or (),
        labels=label or (),
        ports=port or (),
        providers=provider or (),
        regions=region or (),
        strategy=strategy,
        duration=duration,
        budget=budget,
        max_price=max_price,
        retries=retries,
        notify=notify or (),
        outputs=output or (),
        overrides=set_ or (),
    )
    document = options.document()
    spec = document.spec()
    _tell(state, [document])
    raise typer.Exit(asyncio.run(_run(state, document, spec, timeout)))


async def _run(state: State, document: Document, spec: JobSpec, timeout: float | None) -> int:
    await ensure_server(state)
    async with state.aclient() as cortex:
        try:
            job = await cortex.submit(spec)
        except ApiError as error:
            raise _placed(error, [document]) from None
        if state.json:
            print(f'{{"submitted":{job.model_dump_json()}}}', flush=True)
        else:
            render.say(state, f"{job.id}  {job.name}", style="bold")
        try:
            return await follow_job(state, cortex, job, timeout=timeout)
        except* Exception as group:
            raise unpacked(group) from None


@app.command("submit")
def submit(
    ctx: typer.Context,
    files: MaybeFiles = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all have ended.")] = False,
    template: Annotated[
        str | None,
        typer.Option(metavar="NAME[@VERSION]", help="In place of files: what a template becomes."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="Of a parameter of the template."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any field of what the template becomes: `resources.cpu=2`."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the template becomes; submit nothing.")
    ] = False,
) -> None:
    """Submit jobs from files, or what a template becomes, and print their ids.

    A file holds one job, several separated by `---`, or a list of them under `jobs:`. Of several
    jobs (up to 1,000) all are accepted or none.
    """
    state = state_of(ctx)
    if (template is None) is not bool(files):
        raise BadInput("give either files, or a template with --template")
    if template is not None:
        named = Named.of(template)
        filling = filling_of(named, param, set_)
        raise typer.Exit(submit_template(state, named.name, filling, wait=wait, dry_run=dry_run))
    if param or set_ or dry_run:
        raise BadInput("--param, --set and --dry-run are for --template")
    files = files or []
    documents = [document for path in files for document in load(path)]
    specs = _checked(documents)
    _tell(state, documents)
    raise typer.Exit(asyncio.run(_submit(state, documents, specs, wait=wait)))


async def _submit(
    state: State, documents: list[Document], specs: list[JobSpec], *, wait: bool
) -> int:
    async with state.aclient() as cortex:
        try:
            jobs = await _hand_in(cortex, specs)
        except ApiError as error:
            raise _placed(error, documents) from None
        if not wait:
            if state.json:
                render.print_json(*jobs)
            elif len(jobs) == 1:
                print(jobs[0].id)
            else:
                render.table(state, ("ID", "NAME"), [(job.id, job.name) for job in jobs])
            return ExitCode.OK
        render.say(state, f"{len(jobs)} job(s) accepted; waiting for their ends")
        return await wait_for_all(state, cortex, [job.id for job in jobs])


def submit_template(state: State, name: str, filling: Filling, *, wait: bool, dry_run: bool) -> int:
    """Submit what a template becomes, or show it."""
    with state.client() as cortex:
        template_id = find_template(state, cortex, name).id
        if dry_run:
            told = cortex.preview_template(template_id, filling)
            render.print_json(told) if state.json else print(render.indented(told.spec))
            return ExitCode.OK
        made = cortex.submit_template(template_id, filling)
        if not wait:
            render.print_json(made) if state.json else print(made.id)
            return ExitCode.OK
        if isinstance(made, GroupView):
            render.say(state, f"group `{made.id}` was accepted; waiting for its end")
            ended = cortex.wait_group(made.id)
            if state.json:
                render.print_json(ended)
            else:
                print(f"{ended.id}  {ended.name}  {ended.state.value}", flush=True)
            return ExitCode.OK if ended.state is GroupState.COMPLETED else ExitCode.FAILED
    return asyncio.run(_wait_for_one(state, made.id))


async def _wait_for_one(state: State, job_id: str) -> int:
    async with state.aclient() as cortex:
        return await wait_for_all(state, cortex, [job_id])


async def wait_for_all(state: State, cortex: AsyncCortex, job_ids: list[str]) -> int:
    """Wait for jobs and print each as it ends; 0 if all completed."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(job_id: str) -> JobView:
        async with slots:
            job = await cortex.wait(job_id)
        if state.json:
            render.print_json(job)
        else:
            print(f"{job.id}  {job.name}  {summary(job)}", flush=True)
        return job

    ended = await asyncio.gather(*(one(job_id) for job_id in job_ids))
    completed = sum(job.state is JobState.COMPLETED for job in ended)
    if len(ended) == 1:
        return exit_code(ended[0])
    render.say(state, f"{completed} of {len(ended)} completed")
    return ExitCode.OK if completed == len(ended) else ExitCode.FAILED


@app.command("validate")
def validate(
    ctx: typer.Context,
    files: Files,
    local: Annotated[
        bool, typer.Option("--local", help="Check the form only, without a server.")
    ] = False,
) -> None:
    """Check job files: their form, who could run them, what they may cost at most."""
    state = state_of(ctx)
    documents = [document for path in files for document in load(path)]
    specs = _checked(documents)
    _tell(state, documents)
    if local:
        for spec in specs:
            render.print_json(spec) if state.json else print(f"`{spec.name}` is valid")
        return
    with state.client() as cortex:
        for document, spec in zip(documents, specs, strict=True):
            try:
                answer = cortex.validate(spec)
            except ApiError as error:
                raise _placed(error, [document]) from None
            _show_validation(state, answer)


def _estimated(price: Money) -> str:
    """A price by the provider's sheet; some networks have prices only in their offers."""
    return f"{price}" if price.amount else "by its offers"


def _show_validation(state: State, answer: Validation) -> None:
    if state.json:
        render.print_json(answer)
        return
    print(f"`{answer.spec.name}` is valid")
    if answer.estimates:
        rows = [
            (estimate.provider_id, _estimated(estimate.price_per_hour), _estimated(estimate.most))
            for estimate in answer.estimates
        ]
        render.table(state, ("PROVIDER", "PER HOUR", "AT MOST"), rows, right=(1, 2))
    for objection in answer.objections:
        print(f"not `{objection.provider_id}`: {'; '.join(objection.reasons)}")
    if not answer.estimates:
        raise CliError("no provider can run it", code="no_provider", exit_code=ExitCode.BAD_INPUT)


@app.command("quote")
def quote(ctx: typer.Context, file: File) -> None:
    """Ask every provider what a job would cost, and explain the ranking; nothing is submitted."""
    state = state_of(ctx)
    documents = load(file)
    specs = _checked(documents)
    _tell(state, documents)
    with state.client(timeout=60.0) as cortex:
        for document, spec in zip(documents, specs, strict=True):
            try:
                answer = cortex.quote(spec)
            except ApiError as error:
                raise _placed(error, [document]) from None
            if len(specs) > 1 and not state.json:
                render.heading(state, spec.name)
            show_quote(state, answer)


def _tell(state: State, documents: list[Document]) -> None:
    render.notes(state, [line for document in documents for line in document.notes()])


async def _hand_in(cortex: AsyncCortex, specs: list[JobSpec]) -> list[JobView] | list[AcceptedJob]:
    if len(specs) == 1:
        return [await cortex.submit(specs[0])]
    return list((await cortex.submit_batch(specs)).jobs)


def _checked(documents: list[Document]) -> list[JobSpec]:
    """All specs, or the errors of all documents at once."""
    if len(documents) > _MAX_BATCH:
        raise BadInput(f"{len(documents)} jobs; at most {_MAX_BATCH} can be submitted at once")
    specs: list[JobSpec] = []
    refused: list[BadInput] = []
    for document in documents:
        try:
            specs.append(document.spec())
        except BadInput as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        details = [line for error in refused for line in error.details]
        raise BadInput(f"{len(refused)} of {len(documents)} jobs are not valid", details=details)
    return specs


def _placed(error: ApiError, documents: list[Document]) -> Exception:
    """The server's refusal with the places in the file that it speaks of."""
    if error.code != "invalid_request" or not error.errors:
        return error
    return BadInput(
        "the server refuses this", details=[_place(wrong, documents) for wrong in error.errors]
    )


def _place(error: FieldError, documents: list[Document]) -> str:
    name = error.field
    if len(documents) == 1:
        return documents[0].place(error)
    for number, document in enumerate(documents):
        prefix = f"jobs[{number}]"
        if name == prefix or name.startswith((f"{prefix}.", f"{prefix}[")):
            inner = name.removeprefix(prefix).removeprefix(".") or "spec"
            return document.place(FieldError(field=inner, message=error.message))
    return f"`{name}` {error.message}"
