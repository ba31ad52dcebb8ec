"""The stack on this machine: started in the background when `run` needs one, and told about."""

import shlex
import sys

from cli import render
from cli.state import State
from cortex.client import NotConfigured
from cortex.embedded.config import StackConfig
from cortex.embedded.control import StackInfo, detach, find_running
from cortex.embedded.service import StackEvent

_WORDS = {
    "starting": "starting",
    "ready": "ready",
    "died": "died",
    "restarting": "starting again",
    "failed": "failed",
    "stopping": "stopping",
    "stopped": "stopped",
    "note": "",
}


async def ensure_server(state: State) -> None:
    """See to it that a server can be asked: the named one, the running one, that of the last
    login, or a new one.
    """
    if state.server_named():
        return
    folder = state.folder()
    running = find_running(folder)
    if running is not None and running.ready:
        return
    if running is None and state.logins().newest() is not None:
        return
    words = "the stack is still starting" if running else "no server is running: starting one here"
    render.say(state, f"{words} (data in {folder})")
    info = await detach(StackConfig.load(folder), on_event=reporter(state))
    render.say(state, f"it goes on in the background; {how_to_stop(state)} stops it")
    render.say(state, "")
    if state.data_dir is None and find_running(folder) is None:
        raise NotConfigured(f"the stack that was just started ({info.api_url}) is gone again")


def running(state: State) -> StackInfo | None:
    """The stack on this machine, unless another server is named."""
    if state.server_named():
        return None
    return find_running(state.folder())


class reporter:
    """Prints what happens to the parts of the stack, one line each, on stderr."""

    def __init__(self, state: State, *, stderr: bool = True) -> None:
        self._console = render.console(state, stderr=stderr)

    def __call__(self, event: StackEvent) -> None:
        if event.name == "stack" and event.phase == "ready":
            return
        style = render.STYLES.get(event.phase, "dim")
        text = f"  {event.name:<11} {_WORDS.get(event.phase, event.phase)}"
        if event.detail and event.phase != "failed":  # the failure itself is printed at the end
            text += f"  {event.detail}"
        self._console.print(text, style=style, soft_wrap=True)


def show_links(state: State, *, api_url: str, temporal_ui: str, api_key: str, stop: str) -> None:
    """Where everything is, how to use it, how to end it."""
    masked = f"{api_key[:8]}…" if len(api_key) > 12 else "…"
    lines = [
        ("API", api_url),
        ("API docs", f"{api_url}/docs"),
        ("Temporal UI", temporal_ui),
        ("API key", f"{masked}  (to see it: cortex {dir_option(state)}status --show-key)"),
        ("Try", f"cortex {dir_option(state)}run -- echo hello"),
        ("Stop", stop),
    ]
    render.say(state, "")
    for name, value in lines:
        render.say(state, f"  {name:<12} {value}")
    sys.stderr.flush()


def dir_option(state: State) -> str:
    """The options to repeat in a hint: of the server, or of a folder that is not the usual one."""
    if state.profile:
        return f"--profile {shlex.quote(state.profile)} "
    if state.url:
        return f"--url {shlex.quote(state.url)} "
    return f"--data-dir {shlex.quote(str(state.data_dir))} " if state.data_dir else ""


def how_to_stop(state: State) -> str:
    return f"`cortex {dir_option(state)}down`"
