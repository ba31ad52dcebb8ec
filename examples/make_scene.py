"""Makes the scene of examples/render.yaml: `python examples/make_scene.py [FILE]`.

Needs Blender's `bpy` (`make render`). A coloured ring of cubes turns around a ball for 24 frames.
"""

import math
import sys
from pathlib import Path

import bpy

FRAMES = 24


def material(name: str, colour: tuple[float, float, float]) -> bpy.types.Material:
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    shader = made.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = 0.35
    return made


def hue(turn: float) -> tuple[float, float, float]:
    red, green, blue = (0.5 + 0.5 * math.cos(math.tau * (turn - part / 3)) for part in range(3))
    return red, green, blue


def build() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=30)
    bpy.context.object.data.materials.append(material("floor", (0.6, 0.6, 0.62)))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1, location=(0, 0, 1.1), segments=32, ring_count=16)
    bpy.ops.object.shade_smooth()
    bpy.context.object.data.materials.append(material("ball", (0.9, 0.9, 0.9)))
    bpy.ops.object.empty_add(location=(0, 0, 0))
    hub = bpy.context.object
    for number in range(8):
        turn = number / 8
        place = (2.4 * math.cos(math.tau * turn), 2.4 * math.sin(math.tau * turn), 0.45)
        bpy.ops.mesh.primitive_cube_add(size=0.8, location=place)
        bpy.context.object.data.materials.append(material(f"cube{number}", hue(turn)))
        bpy.context.object.parent = hub
    hub.keyframe_insert("rotation_euler", frame=1)
    hub.rotation_euler[2] = math.tau / 4
    hub.keyframe_insert("rotation_euler", frame=FRAMES)
    bpy.ops.object.light_add(type="AREA", location=(4, -4, 6))
    light = bpy.context.object
    light.data.energy, light.data.size = 900, 4
    light.rotation_euler = (math.radians(40), 0, math.radians(45))
    bpy.ops.object.camera_add(location=(0, -8, 4.5), rotation=(math.radians(64), 0, 0))
    scene.camera = bpy.context.object
    scene.world = bpy.data.worlds.new("sky")
    scene.world.color = (0.35, 0.45, 0.6)
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 16
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = 320, 180


def main(path: Path) -> None:
    build()
    bpy.ops.wm.save_as_mainfile(filepath=str(path.absolute()), compress=True)


if __name__ == "__main__":
    default = Path(__file__).parent / "scene.blend"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
