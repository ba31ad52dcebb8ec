"""What Dispersed cannot run is said by its capabilities, with the field's name."""

from pathlib import Path

from pydantic import SecretStr

from cortex.domain.spec import JobSpec
from providers.render import RenderConfig
from providers.render.conditions import conditions
from tests.providers.render.network import simulated
from tests.support.demanding import compare, jobs, renders


async def test_nothing_is_refused_that_was_let_through(tmp_path: Path) -> None:
    async with simulated(tmp_path) as network:
        provider = await network.dispersed()
        said, late = await compare(provider, jobs("cortex/runner:1"))
        scenes, later = await compare(provider, renders(f"{network.site}/scenes/a.blend"))
        await provider.aclose()
        assert {**late, **later} == {}
        assert set(said) == {
            "JSON in args alone",
            "UDP",
            "a digest",
            "a large variable",
            "a large volume",
            "a large word",
            "a service",
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
            "beyond ASCII, large",
            "characters that are written long",
            "dollars",
            "faces",
            "large JSON",
            "large words and variables",
            "noise",
            "outputs without a command",
            "quotes",
            "quotes in JSON",
            "the same without a command",
        }
        assert set(scenes) == {
            "a scene in a bucket",
            "a scene on the worker's disk",
            "large chunks",
            "many chunks",
            "scattered frames",
        }


def test_without_a_drop_box() -> None:
    refused = conditions(RenderConfig(public_key="pk_x", secret_key=SecretStr("sk_x")), None)
    files = JobSpec(image="x", command=("x",), outputs=("out",))
    frames = JobSpec.model_validate({"render": {"scene": "https://x.example/a", "frames": "1"}})
    for spec, field in ((files, "outputs"), (frames, "render")):
        (why,) = refused.objections(spec)
        assert why.startswith(f"`{field}`: it can hand over no")
