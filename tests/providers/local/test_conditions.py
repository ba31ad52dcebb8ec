"""What a plain process cannot have is said by the capabilities, with the field's name."""

from providers.local import LocalProvider
from tests.support.demanding import compare, jobs


async def test_nothing_is_refused_that_was_let_through(local: LocalProvider) -> None:
    said, late = await compare(local, jobs(None))
    assert late == {}
    assert set(said) == {
        "2 GPUs",
        "25 GPUs",
        "a GPU of AMD",
        "a digest",
        "a large volume",
        "a volume at the root",
        "a volume to keep",
        "a volume where marks are",
        "a workdir",
        "a workdir of the system",
        "an image that is no reference",
        "an odd name and an odd program",
        "an odd name with all it may hold",
    }
