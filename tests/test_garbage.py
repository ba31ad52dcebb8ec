"""What is frozen is not looked at any more; what comes after it is."""

import gc
import weakref

from cortex.garbage import freeze


class Node:
    """Two of them keep each other."""

    other: "Node | None" = None


def pair() -> "weakref.ref[Node]":
    one, other = Node(), Node()
    one.other, other.other = other, one
    return weakref.ref(one)


def test_only_what_is_loaded_by_then_is_left_out() -> None:
    before = pair()
    try:
        freeze()
        seen = len(gc.get_objects())
        after = pair()
        gc.collect()
        assert before() is None, "it was garbage by then"
        assert after() is None
        assert seen < 1000 < gc.get_freeze_count()
    finally:
        gc.unfreeze()
