"""Python's search for garbage, in a process that others wait for."""

import gc


def freeze() -> None:
    """Leave out what is loaded by now; call it once a process is ready.

    A full search looks at every object there is, again and again. The 180,000 of the modules stay
    as long as the process does, and looking at them holds up all requests for 100 ms.
    """
    gc.collect()
    gc.freeze()
