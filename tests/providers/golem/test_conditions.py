"""What Golem cannot run is said by its capabilities, with the field's name."""

from tests.providers.golem.conftest import IMAGE, Make
from tests.support.demanding import compare, jobs


async def test_nothing_is_refused_that_was_let_through(make: Make) -> None:
    golem = await make(negotiation_timeout=0.5)
    said, late = await compare(golem, jobs(IMAGE))
    assert late == {}
    assert set(said) == {
        "2 GPUs",
        "25 GPUs",
        "JSON in args alone",
        "JSON without a command",
        "UDP",
        "a GPU of AMD",
        "a digest",
        "a large volume",
        "a literal without a command",
        "a service with a workdir alone",
        "a service with args alone",
        "a service without a command",
        "a volume at the root",
        "a volume to keep",
        "a volume where marks are",
        "an image that is no reference",
        "an odd name and an odd program",
        "an odd name with all it may hold",
        "args alone",
        "no command",
        "noise",
        "outputs without a command",
        "quotes",
        "quotes in JSON",
        "secrets without a command",
        "the same without a command",
    }
