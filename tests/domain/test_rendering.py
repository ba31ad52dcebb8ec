"""Render jobs: what a spec may say, and which providers can do it."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from cortex.domain.errors import field_errors
from cortex.domain.offers import Capabilities
from cortex.domain.spec import JobSpec

RENDERER = Capabilities(images=False, processes=False, render=True, render_engines=("cycles",))


def render(**values: Any) -> dict[str, Any]:
    return {"render": {"scene": "/scenes/a.blend", "frames": "1-48,60", **values}}


def problem(data: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(data)
    error = field_errors(caught.value)[0]
    return error.field, error.message


class TestSpec:
    def test_needs_neither_image_nor_command(self) -> None:
        spec = JobSpec.model_validate(render(resolution={"width": 64, "height": 36}))
        assert spec.render is not None
        assert len(spec.render.numbers()) == 49
        assert spec.render.output(60) == "frames/frame_000060.png"
        assert spec.kept() == ("frames", "previews")

    def test_asks_for_room_for_blender_unless_told(self) -> None:
        spec = JobSpec.model_validate(render())
        assert (spec.resources.cpu, spec.resources.memory) == (Decimal(1), 2 * 2**30)
        spec = JobSpec.model_validate({**render(), "resources": {"memory": "512Mi"}})
        assert (spec.resources.cpu, spec.resources.memory) == (Decimal(1), 512 * 2**20)

    def test_survives_storage(self) -> None:
        spec = JobSpec.model_validate(render(engine="cycles", samples=4, sha256="A" * 64))
        assert JobSpec.model_validate(spec.model_dump(mode="json")) == spec

    def test_a_number_is_a_frame(self) -> None:
        spec = JobSpec.model_validate(render(frames=7))
        assert spec.render is not None
        assert spec.render.numbers() == (7,)

    def test_leaves_out_what_is_done(self) -> None:
        spec = JobSpec.model_validate(render(frames="1-6"))
        assert spec.render is not None
        assert spec.render.without(frozenset({2, 3})).frames == "1,4-6"
        assert spec.render.without(frozenset(range(9))).numbers() == ()

    @pytest.mark.parametrize(
        ("values", "field", "words"),
        [
            ({"frames": "1-a"}, "render.frames", "`1-a`"),
            ({"frames": [1, 2]}, "render.frames", "must be text"),
            ({"frames": "1-99999"}, "render.frames", "more than 10000"),
            ({"scene": "a.blend"}, "render.scene", "absolute path"),
            ({"scene": "/a/../b"}, "render.scene", "`..`"),
            ({"scene": "ftp://x/a.blend"}, "render.scene", "http, https, s3"),
            ({"scene": "https://me:pw@x/a.blend"}, "render.scene", "presigned"),
            ({"sha256": "12"}, "render.sha256", "64 hexadecimal"),
            ({"engine": "octane"}, "render.engine", "cycles"),
            ({"format": "GIF"}, "render.format", "PNG"),
            ({"chunk": 0}, "render.chunk", "greater"),
            ({"samples": 0}, "render.samples", "greater"),
            ({"resolution": {"width": 0, "height": 9}}, "render.resolution.width", "greater"),
            ({"shutter": 1}, "render.shutter", "is not a known field"),
        ],
    )
    def test_names_the_field_that_is_wrong(
        self, values: dict[str, Any], field: str, words: str
    ) -> None:
        where, message = problem(render(**values))
        assert where == field
        assert words in message

    @pytest.mark.parametrize(
        ("extra", "name"),
        [
            ({"image": "busybox"}, "image"),
            ({"command": ["true"]}, "command"),
            ({"env": {"A": "1"}}, "env"),
            ({"ports": [{"port": 80}]}, "ports"),
            ({"outputs": ["x"]}, "outputs"),
        ],
    )
    def test_takes_nothing_that_says_what_to_run(self, extra: dict[str, Any], name: str) -> None:
        assert f"takes no `{name}`" in problem({**render(), **extra})[1]

    def test_is_no_service(self) -> None:
        assert "service" in problem({**render(), "kind": "service"})[1]


class TestObjections:
    def test_who_renders(self) -> None:
        spec = JobSpec.model_validate(render())
        assert RENDERER.objections(spec) == []
        plain = Capabilities(images=True, processes=True)
        assert plain.objections(spec) == ["`render`: it renders no scenes"]

    def test_who_only_renders(self) -> None:
        for data in ({"command": ["true"]}, {"image": "busybox"}):
            assert RENDERER.objections(JobSpec.model_validate(data)) == [
                "`render`: it renders scenes only"
            ]

    def test_engine(self) -> None:
        spec = JobSpec.model_validate(render(engine="eevee"))
        assert RENDERER.objections(spec) == [
            "`render.engine`: it does not render with eevee (it has cycles)"
        ]
