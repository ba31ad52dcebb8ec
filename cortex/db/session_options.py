"""What every session with PostgreSQL is told at its start."""

from typing import Final

# A cancel may come before the statement that it means and is then lost; a machine may be lost with
# statements in flight. The server then lets go of what they locked within this time, not when they
# end: https://www.postgresql.org/docs/current/runtime-config-connection.html
_LOOK_AFTER_CLIENT_MS: Final = 1000

ALL: Final = f"-c timezone=UTC -c client_connection_check_interval={_LOOK_AFTER_CLIENT_MS}"
