"""The escrow of a deployment: settled when somebody asks for it, never by itself."""

from decimal import ROUND_DOWN, Decimal

from simulators.akash.model import SimDeployment

UACT = Decimal(1_000_000)


def rate(deployment: SimDeployment) -> Decimal:
    """What its live leases cost, uact per block."""
    return sum((lease.price for lease in deployment.leases if lease.live), Decimal(0))


def settle(deployment: SimDeployment, height: int) -> bool:
    """Pay what is due up to this block. False if the funds did not suffice: it is overdrawn."""
    escrow = deployment.escrow
    if escrow.state != "open":
        return True
    due = rate(deployment) * max(0, height - escrow.settled_at)
    paid = min(due, escrow.funds)
    escrow.transferred += paid
    escrow.funds -= paid
    escrow.settled_at = height
    if due > paid:
        escrow.state = "overdrawn"
        return False
    return True


def cost(deployment: SimDeployment, height: int) -> Decimal:
    """What it has cost, uact: settled and not yet settled."""
    escrow = deployment.escrow
    if escrow.state != "open":
        return escrow.transferred
    due = rate(deployment) * max(0, height - escrow.settled_at)
    whole = due.quantize(Decimal(1), rounding=ROUND_DOWN)
    return escrow.transferred + min(whole, escrow.funds)


def runway(deployment: SimDeployment, blocks_per_hour: Decimal) -> Decimal | None:
    """Hours that its funds last; None if nothing is paid from them."""
    hourly = rate(deployment) * blocks_per_hour
    return deployment.escrow.funds / hourly if hourly else None


def lacks(deployment: SimDeployment, blocks_per_hour: Decimal, hours: Decimal) -> Decimal:
    """What must be added so that it lasts for so many hours, USD."""
    wanted = rate(deployment) * blocks_per_hour * hours - deployment.escrow.funds
    return max(Decimal(0), wanted) / UACT


def refund(deployment: SimDeployment) -> Decimal:
    """Close it and take out what is left, USD."""
    escrow = deployment.escrow
    left = escrow.funds
    escrow.funds = Decimal(0)
    if escrow.state == "open":
        escrow.state = "closed"
    return left / UACT
