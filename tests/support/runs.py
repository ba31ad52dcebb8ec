"""What simulators run: real processes, which no test may leave behind."""

from pathlib import Path

from providers.local import LocalConfig, LocalProvider


async def clear(runs: Path) -> None:
    """End and remove whatever the simulator with this folder still runs."""
    local = LocalProvider("simulated", LocalConfig(state_dir=runs, isolation="none"))
    await local.initialize()
    for ref in await local.owned():
        await local.cancel(ref)
        await local.forget(ref)
    await local.aclose()
