import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from cortex.embedded.errors import StackError
from cortex.embedded.service import ServiceUser
from cortex.embedded.system_user import reachable, unprivileged_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")


@pytest.fixture
def user() -> ServiceUser:
    user = unprivileged_user(owner_of=Path("/nowhere"))
    assert user is not None
    return user


@pytest.fixture
def closed(own_folder: Callable[[], Path]) -> Path:
    folder = own_folder() / "closed"
    (folder / "inner").mkdir(parents=True)
    folder.chmod(0o700)
    return folder


@as_root
class TestAsRoot:
    def test_user_is_not_root(self, user: ServiceUser) -> None:
        assert user.uid != 0
        assert pwd.getpwuid(user.uid).pw_name == "embedded_postgres"

    def test_owner_of_an_existing_database_runs_it(self, tmp_path: Path) -> None:
        os.chown(tmp_path, 4711, 4712)
        assert unprivileged_user(owner_of=tmp_path) == ServiceUser(4711, 4712)

    def test_closed_folder_lets_this_user_through_and_nobody_else(
        self, closed: Path, user: ServiceUser
    ) -> None:
        (closed / "secret").write_text("s")
        (closed / "inner").chmod(0o755)
        reachable(closed / "inner", user)
        assert stat.S_IMODE(closed.stat().st_mode) & 0o007 == 0
        assert run_as(user, closed / "inner", "-x")
        assert not run_as(user, closed, "-r")
        assert not run_as(ServiceUser(user.uid + 1, user.gid + 1), closed / "inner", "-x")
        reachable(closed / "inner", user)

    def test_other_entries_of_the_access_list_stay(self, closed: Path, user: ServiceUser) -> None:
        reachable(closed / "inner", user)
        other = ServiceUser(user.uid + 1, user.gid + 1)
        reachable(closed / "inner", other)
        assert run_as(user, closed / "inner", "-x")
        assert run_as(other, closed / "inner", "-x")

    def test_what_cannot_be_arranged_is_told(
        self, closed: Path, user: ServiceUser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unsupported(*args: object) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "setxattr", unsupported)
        with pytest.raises(StackError, match="--data-dir /var/lib/cortex"):
            reachable(closed / "inner", user)


def run_as(user: ServiceUser, path: Path, test: str) -> bool:
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(user.gid)
        os.setuid(user.uid)
        os._exit(0 if os.access(path, os.X_OK if test == "-x" else os.R_OK) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
