"""The servers that the containers would run, as processes of a test, each on a port of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cortex.embedded.postgres import postgres_binary
from cortex.embedded.system_user import reachable, unprivileged_user
from cortex.embedded.temporal import temporal_binary
from providers.conformance import Patience
from tests.support import patience

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True)
class Server:
    """Where it listens, and (PostgreSQL) the folder of the secrets it was made with."""

    address: str
    port: int
    secrets: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plain_environment(**more: str) -> dict[str, str]:
    """PATH, a home and what the caller adds: nothing of Cortex from outside."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, **more}


def wait_until(ready: Callable[[], bool], what: str, seconds: float = 60) -> None:
    waiting = Patience(seconds)
    while not ready():
        if waiting.over:
            raise AssertionError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.1)


def listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    argv: list[str],
    log: Path,
    *,
    env: Mapping[str, str],
    user: int | None = None,
    group: int | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd="/",
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=patience(30))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run_script(script: Path, *, env: Mapping[str, str], arguments: tuple[str, ...] = ()) -> str:
    """Run a script of deploy/ as the container would; its output."""
    done = subprocess.run(
        ["/bin/sh", str(script), *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A new PostgreSQL with the databases and roles that deploy/postgres makes."""
    port = free_port()
    # Not in pytest's folders: as root the server runs as another user, who cannot get there.
    folder = Path(tempfile.mkdtemp(prefix="cortex-deploy-"))
    try:
        secrets = folder / "secrets"
        run_script(
            DEPLOY / "make-secrets.sh",
            env=plain_environment(DATABASE_ADDRESS=f"127.0.0.1:{port}"),
            arguments=(str(secrets),),
        )
        with _cluster(folder, port):
            run_script(DEPLOY / "postgres" / "10-databases.sh", env=init_environment(port, secrets))
            yield Server(f"127.0.0.1:{port}", port, secrets)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def init_environment(port: int, secrets: Path) -> dict[str, str]:
    """What the image of PostgreSQL gives an init script, with TCP for its socket."""
    programs = str(postgres_binary("psql").parent)
    return plain_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PGHOST="127.0.0.1",
        PGPORT=str(port),
        PGPASSWORD=(secrets / "postgres_password").read_text(),
        SECRETS_DIR=str(secrets),
    )


@contextmanager
def _cluster(folder: Path, port: int) -> Iterator[None]:
    data = folder / "data"
    password = folder / "password"
    shutil.copy(folder / "secrets" / "postgres_password", password)
    user = unprivileged_user(owner_of=data)
    if user is not None:
        reachable(postgres_binary("postgres"), user)
        for path in (folder, password):
            os.chown(path, user.uid, user.gid)
    subprocess.run(
        [
            *(str(postgres_binary("initdb")), "--pgdata", str(data), "--username=postgres"),
            *("--encoding=UTF8", "--auth=scram-sha-256", "--no-sync", f"--pwfile={password}"),
        ],
        env=plain_environment(LC_ALL="C.UTF-8"),
        cwd="/",
        user=user.uid if user else None,
        group=user.gid if user else None,
        extra_groups=[] if user else None,
        check=True,
        capture_output=True,
    )
    argv = [
        *(str(postgres_binary("postgres")), "-D", str(data), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
        *("-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "dynamic_shared_memory_type=mmap"),
    ]
    with running(
        argv,
        folder / "log",
        env=plain_environment(LC_ALL="C.UTF-8"),
        user=user.uid if user else None,
        group=user.gid if user else None,
        stop=signal.SIGINT,
    ):
        wait_until(lambda: _accepts(port), "PostgreSQL")
        yield


def _accepts(port: int) -> bool:
    program = str(postgres_binary("pg_isready"))
    asked = subprocess.run([program, "-h", "127.0.0.1", "-p", str(port)], capture_output=True)
    return asked.returncode == 0


@contextmanager
def temporal_server(folder: Path) -> Iterator[Server]:
    """A new Temporal server: it knows the namespace `default` and no search attribute of ours."""
    port = free_port()
    argv = [
        *(temporal_binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1"),
        *("--port", str(port), "--http-port", str(free_port()), "--log-level", "error"),
        *("--db-filename", str(folder / "temporal.db"), "--sqlite-pragma", "journal_mode=WAL"),
    ]
    with running(argv, folder / "temporal.log", env=plain_environment()):
        wait_until(lambda: listening(port), "Temporal")
        yield Server(f"127.0.0.1:{port}", port, folder)
