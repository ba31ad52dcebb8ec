"""Exit codes, and every expected failure as words for people (or JSON for programs)."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What the `cortex` command ends with; `run` passes on the job's own code instead."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    CONFLICT = 5
    NOT_ALLOWED = 6
    TIMEOUT = 124
    INTERRUPTED = 130


class CliError(Exception):
    """A failure with its exit code, a sentence, and lines of detail (wrong fields, hints)."""

    def __init__(
        self,
        message: str,
        *,
        details: Sequence[str] = (),
        code: str = "failed",
        exit_code: int = ExitCode.FAILED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.code = code
        self.exit_code = exit_code


class BadInput(CliError):
    """What the user gave is wrong; nothing was done."""

    def __init__(self, message: str, *, details: Sequence[str] = ()) -> None:
        super().__init__(message, details=details, code="bad_input", exit_code=ExitCode.BAD_INPUT)


_BY_STATUS = {
    400: ExitCode.BAD_INPUT,
    401: ExitCode.NOT_ALLOWED,
    402: ExitCode.CONFLICT,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    413: ExitCode.BAD_INPUT,
    415: ExitCode.BAD_INPUT,
    422: ExitCode.BAD_INPUT,
    429: ExitCode.UNREACHABLE,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}


def as_cli_error(error: Exception) -> CliError | None:
    """The failure in our form; None for what is a bug."""
    if isinstance(error, CliError):
        return error
    # Only now: whoever gets here has loaded the client anyway, and `--help` never does.
    from cortex.client import (
        ApiError,
        ClientError,
        ConnectionFailed,
        GroupWaitTimeout,
        NotConfigured,
        WaitTimeout,
    )
    from cortex.domain.errors import CortexError

    if isinstance(error, ApiError):
        return _from_api(error)
    if isinstance(error, ConnectionFailed | NotConfigured):
        return CliError(str(error), code="unreachable", exit_code=ExitCode.UNREACHABLE)
    if isinstance(error, WaitTimeout | GroupWaitTimeout):
        return CliError(str(error), code="timeout", exit_code=ExitCode.TIMEOUT)
    if isinstance(error, ClientError):
        return CliError(str(error), code="client_error")
    if isinstance(error, CortexError):
        details = [f"`{wrong.field}` {wrong.message}" for wrong in error.errors]
        return CliError(error.detail, details=details, code=error.code)
    if isinstance(error, OSError) and error.filename:
        return CliError(f"{error.filename}: {error.strerror}", code="file_error")
    if isinstance(error, OSError) and error.errno in _WRITING:
        _drop_output()
        return CliError(f"the output cannot be written: {error.strerror}", code="output_error")
    return None


_WRITING = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EBADF)


def _drop_output() -> None:
    """What is still to be written cannot be either: do not try it again at the end."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _from_api(error: "ApiError") -> CliError:  # type: ignore[name-defined]  # noqa: F821
    told = error.detail  # often names the first fields already
    details = [
        f"`{wrong.field}` {wrong.message}" for wrong in error.errors if wrong.message not in told
    ]
    if error.code == "not_logged_in":
        details.append("`cortex login` logs in")
    elif error.code == "not_authenticated":
        details.append("log in with `cortex login`, or give a key: --api-key or CORTEX_API_KEY")
        details.append("`cortex status --show-key` prints that of the stack on this machine")
    if error.status == 403:
        details.append("another key is given with --api-key or CORTEX_API_KEY")
    if error.code == "submissions_paused":
        details.append("try again later")
    elif error.status >= 500 and error.problem.correlation_id:
        details.append(f"the server's log has more under `{error.problem.correlation_id}`")
    exit_code = _BY_STATUS.get(error.status, ExitCode.FAILED)
    return CliError(error.detail, details=details, code=error.code, exit_code=exit_code)


def show(error: CliError, *, as_json: bool, color: bool) -> None:
    """Write the failure to stderr."""
    if as_json:
        body = {"code": error.code, "message": error.message, "details": error.details}
        print(json.dumps({"error": body}), file=sys.stderr)
        return
    head = "\033[1;31merror:\033[0m" if color else "error:"
    print(f"{head} {error.message}", file=sys.stderr)
    for line in error.details:
        print(f"  {line}", file=sys.stderr)
