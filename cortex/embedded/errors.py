"""What goes wrong with the embedded stack, in words for the person who started it."""

from cortex.domain.errors import CortexError


class StackError(CortexError):
    """The embedded stack cannot start, or cannot go on; the text says what to do."""

    code = "embedded_stack"
    title = "The embedded stack cannot run"


class AlreadyRunning(StackError):
    """Another supervisor holds this data folder."""

    code = "embedded_stack_running"
    title = "A stack is running already"


class PortTaken(StackError):
    """Something that is not ours listens on a port of the stack."""

    code = "embedded_port_taken"
    title = "A port is taken"
