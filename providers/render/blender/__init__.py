"""Scripts that run beside Cortex, never inside it.

`supervise.py` (standard library only) runs the frames of one lease; `paint.py` runs in a process of
its own with Blender's `bpy`, which is GPL and is imported nowhere else.
"""
