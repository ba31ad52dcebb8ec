"""Loads structlog without rich; import this before anything that imports structlog.

structlog takes rich along where it is installed, and with it pygments and attrs, to colour the
traces that `configure_logging` prints plain. That is 5 MiB in each of the server's processes.
"""

import sys
from importlib import import_module

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]
