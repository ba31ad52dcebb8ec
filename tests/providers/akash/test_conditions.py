"""What Akash cannot run is said by its capabilities, with the field's name."""

from tests.providers.akash.conftest import Net
from tests.support.demanding import compare, jobs

# Text of this size is read by a YAML reader in Python, again and again; one of the kind is left.
_SLOW = (
    "large JSON",
    "quotes in JSON",
    "a large variable",
    "a large word",
    "beyond ASCII, large",
    "noise",
    "quotes",
)


async def test_nothing_is_refused_that_was_let_through(net: Net) -> None:
    provider = await net.provider()
    said, late = await compare(provider, jobs("busybox:1.36", without=_SLOW))
    assert late == {}
    assert set(said) == {
        "25 GPUs",
        "JSON in args alone",
        "JSON without a command",
        "a GPU of AMD",
        "a large secret",
        "a large secret with an odd name",
        "a secret of dollars",
        "a large variable that looks sealed",
        "a large volume",
        "a line separator",
        "a line separator in a path",
        "a literal without a command",
        "a price of next to nothing",
        "a service with a workdir alone",
        "a service with args alone",
        "a volume at the root",
        "a volume to keep",
        "an image that is no reference",
        "an odd name and an odd program",
        "an odd name with all it may hold",
        "args alone",
        "characters that are written long",
        "dollars",
        "faces",
        "many secrets",
        "no command",
        "outputs without a command",
        "secrets without a command",
        "the same without a command",
    }
