"""Renders frames with Blender: `python paint.py PLAN FD FRAMES`.

Runs in a process of its own and tells on the pipe FD, one JSON object a line, what it begins,
ends and cannot do. A frame's file is put in place whole, so that half of one is never taken for
a frame. Scripts inside a scene are not run.
"""

import json
import os
import sys
from typing import Any

PREVIEW_WIDTH = 256
_ENGINES = {"cycles": "CYCLES", "eevee": "BLENDER_EEVEE", "workbench": "BLENDER_WORKBENCH"}


def main(plan_path: str, told: int, frames: list[int]) -> int:
    with open(plan_path, encoding="utf-8") as file:
        plan: dict[str, Any] = json.load(file)
    pipe = os.fdopen(told, "w", encoding="utf-8", buffering=1)

    def tell(what: str, **facts: object) -> None:
        pipe.write(json.dumps({"what": what, **facts}) + "\n")

    try:
        import bpy
    except ImportError as error:
        tell("fatal", message=f"Blender cannot be loaded: {error}")
        return 1
    try:
        bpy.ops.wm.open_mainfile(
            filepath=os.path.abspath(plan["scene"]), load_ui=False, use_scripts=False
        )
        _set_up(bpy, plan)
    except (RuntimeError, TypeError, AttributeError) as error:
        tell("fatal", message=_line(error))
        return 1
    for number in frames:
        tell("begin", frame=number)
        try:
            output = _paint(bpy, plan, number)
        except (RuntimeError, OSError) as error:
            tell("error", frame=number, message=_line(error))
        else:
            tell("end", frame=number, output=output)
    return 0


def _set_up(bpy: Any, plan: dict[str, Any]) -> None:
    scene = bpy.context.scene
    if scene.camera is None:
        raise RuntimeError("the scene has no camera")
    render = scene.render
    if plan["engine"]:
        render.engine = _ENGINES[plan["engine"]]
    if plan["samples"] and render.engine == "CYCLES":
        scene.cycles.samples = plan["samples"]
    elif plan["samples"] and render.engine == "BLENDER_EEVEE":
        scene.eevee.taa_render_samples = plan["samples"]
    if plan["resolution"]:
        render.resolution_x, render.resolution_y = plan["resolution"]
        render.resolution_percentage = 100
    if hasattr(render.image_settings, "media_type"):
        render.image_settings.media_type = "IMAGE"
    render.image_settings.file_format = plan["format"]
    render.use_file_extension = False
    render.threads_mode = "FIXED"
    render.threads = plan["threads"]


def _paint(bpy: Any, plan: dict[str, Any], number: int) -> str:
    """Render one frame; the path of its file."""
    scene = bpy.context.scene
    name = f"frame_{number:06d}"
    output = f"frames/{name}.{plan['extension']}"
    partial = os.path.abspath(f"partial/{name}.{os.getpid()}")
    scene.frame_set(number)
    scene.render.filepath = partial
    bpy.ops.render.render(write_still=True)
    if not os.path.isfile(partial):
        raise RuntimeError("Blender wrote no file")
    if plan["previews"]:
        _preview(bpy, partial, name)
    os.replace(partial, output)
    return output


def _preview(bpy: Any, source: str, name: str) -> None:
    image = bpy.data.images.load(source)
    try:
        width, height = image.size
        if width > PREVIEW_WIDTH:
            image.scale(PREVIEW_WIDTH, max(1, round(height * PREVIEW_WIDTH / width)))
        image.file_format = "PNG"
        image.filepath_raw = f"{source}.preview"
        image.save()
    finally:
        bpy.data.images.remove(image)
    os.replace(f"{source}.preview", f"previews/{name}.png")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), [int(text) for text in sys.argv[3].split(",")]))
