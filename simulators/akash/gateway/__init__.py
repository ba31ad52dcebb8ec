"""The providers' gateways: one port with TLS for each, as the real ones have it.

What they answer is what was recorded of the real gateway (provider afc4dd7c, 2026-06-29), or read
in its source where no recording has it. `tests/simulators/akash/test_gateway.py` compares.
"""

from simulators.akash.gateway.listeners import Gateways, router

__all__ = ["Gateways", "router"]
