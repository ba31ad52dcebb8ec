"""The frames of a render job as the API shows them."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from cortex.domain.money import Money
from cortex.domain.rendering.frames import FrameState, FrameStatus
from cortex.schemas.jobs import FramePage


def frame_page(
    numbers: Sequence[int],
    known: Sequence[FrameStatus],
    *,
    state: FrameState | None,
    after: int,
    limit: int,
) -> FramePage:
    """A page of the frames `numbers`; of those that are not among `known`, none was begun."""
    told = {frame.frame: frame for frame in known}
    frames = [
        told.get(number) or FrameStatus(frame=number, state=FrameState.QUEUED) for number in numbers
    ]
    chosen = [frame for frame in frames if frame.frame > after and state in (None, frame.state)]
    counts = Counter(frame.state for frame in frames)
    return FramePage(
        items=tuple(chosen[:limit]),
        next_cursor=str(chosen[limit - 1].frame) if len(chosen) > limit else None,
        total=len(frames),
        counts={each: counts[each] for each in FrameState},
        cost=_sums(frames),
    )


def _sums(frames: Sequence[FrameStatus]) -> tuple[Money, ...]:
    sums: dict[str, Decimal] = {}
    for frame in frames:
        if frame.cost is not None:
            before = sums.get(frame.cost.currency, Decimal(0))
            sums[frame.cost.currency] = before + frame.cost.amount
    return tuple(Money(amount=amount, currency=name) for name, amount in sorted(sums.items()))
