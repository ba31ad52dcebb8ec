"""What Nosana cannot run is said by its capabilities, with the field's name."""

from tests.providers.nosana.conftest import Sim
from tests.support.demanding import compare, jobs


async def test_nothing_is_refused_that_was_let_through(sim: Sim) -> None:
    said, late = await compare(await sim.provider(), jobs("busybox:1.36"))
    assert late == {}
    assert set(said) == {
        "2 GPUs",
        "25 GPUs",
        "JSON in args alone",
        "JSON without a command",
        "UDP",
        "a GPU of AMD",
        "a large volume",
        "a literal without a command",
        "a volume at the root",
        "a volume to keep",
        "a volume where marks are",
        "an image that is no reference",
        "an odd name and an odd program",
        "an odd name with all it may hold",
        "characters that are written long",
        "large JSON",
        "outputs without a command",
        "quotes in JSON",
        "secrets without a command",
    }


async def test_without_a_drop_box(sim: Sim) -> None:
    said, late = await compare(await sim.provider(drop=False), jobs("busybox:1.36"))
    assert late == {}
    assert set(said) >= {
        "a large secret",
        "a large secret with an odd name",
        "a secret of dollars",
        "a line separator in a path",
        "many secrets",
        "outputs",
        "secrets",
    }
