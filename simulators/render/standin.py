"""Stands in for Blender where it is not installed: `python standin.py PLAN FD FRAMES`.

Takes the same plan and tells the same things as `providers/render/blender/paint.py`, and writes
true PNG files, but what they show is a pattern. A scene that is JSON says how it behaves:
`{"seconds": 0.2, "fails": {"3": 1}}` takes 0.2 s a frame, and frame 3 fails once.
"""

import json
import os
import struct
import sys
import time
import zlib


def main(plan_path: str, told: int, frames: list[int]) -> int:
    with open(plan_path, encoding="utf-8") as file:
        plan = json.load(file)
    pipe = os.fdopen(told, "w", encoding="utf-8", buffering=1)

    def tell(what: str, **facts: object) -> None:
        pipe.write(json.dumps({"what": what, **facts}) + "\n")

    with open(plan["scene"], "rb") as scene:
        data = scene.read()
    if not data:
        tell("fatal", message="the scene is empty")
        return 1
    behaviour = json.loads(data) if data[:1] == b"{" else {}
    width, height = plan["resolution"] or (64, 36)
    for number in frames:
        tell("begin", frame=number)
        time.sleep(float(behaviour.get("seconds", 0)))
        if _fails(number, behaviour.get("fails", {})):
            tell("error", frame=number, message=f"the scene lets frame {number} fail")
            continue
        name = f"frame_{number:06d}"
        output = f"frames/{name}.{plan['extension']}"
        _put(output, picture(width, height, number))
        if plan["previews"]:
            _put(f"previews/{name}.png", picture(min(width, 256), min(height, 144), number))
        tell("end", frame=number, output=output)
    return 0


def picture(width: int, height: int, number: int) -> bytes:
    """A PNG whose colours move with the frame's number."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            rows += bytes(((x * 4 + number * 8) & 255, (y * 6) & 255, (number * 40) & 255))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _put(path: str, data: bytes) -> None:
    partial = f"partial/{os.path.basename(path)}.{os.getpid()}"
    with open(partial, "wb") as file:
        file.write(data)
    os.replace(partial, path)


def _fails(number: int, fails: dict[str, int]) -> bool:
    """Whether this try of the frame fails; each try leaves a mark."""
    times = int(fails.get(str(number), 0))
    marks = [name for name in os.listdir("partial") if name.startswith(f"failed.{number}.")]
    if len(marks) >= times:
        return False
    open(f"partial/failed.{number}.{len(marks)}", "w").close()
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), [int(text) for text in sys.argv[3].split(",")]))
