"""What runs inside a container on Dispersed: Cortex's command, handed over as a variable.

The network knows neither command nor entry point, so the image must run the shell text that stands
in the variable CORTEX_COMMAND (see docs/providers/render.md). The runner (`providers.runner`) tells
the exit code in its log and through the drop box.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from importlib.resources import files

from cortex.domain.conditions.kernel import MAX_ARG_STRLEN
from cortex.domain.conditions.shell import ascii_word
from cortex.domain.rendering import Render
from cortex.domain.spec import JobSpec
from providers.errors import Unsuitable
from providers.runner import RunnerUrls, wrap

COMMAND = "CORTEX_COMMAND"
FRAME_MARK = "::frame "
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "OPEN_EXR": "exr"}

# Runs in the image's Python, before anything of ours is there.
_BOOTSTRAP = """
import base64, hashlib, json, os, sys, urllib.request, zlib
load = json.loads(zlib.decompress(base64.b64decode(os.environ.pop("CORTEX_RENDER"))))
os.makedirs(".render", exist_ok=True)
for name, text in load["files"].items():
    with open(os.path.join(".render", name), "w") as out:
        out.write(text)
digest = hashlib.sha256()
with urllib.request.urlopen(load["scene"], timeout=60) as source:
    with open(".render/scene.blend", "wb") as out:
        while True:
            block = source.read(1 << 20)
            if not block:
                break
            digest.update(block)
            out.write(block)
if load["sha256"] and digest.hexdigest() != load["sha256"]:
    sys.exit("the scene is another file than `render.sha256` says")
os.execv(sys.executable, [sys.executable, ".render/supervise.py", ".render/plan.json"])
"""


def container_env(spec: JobSpec, key: str, urls: RunnerUrls | None) -> dict[str, str]:
    """The variables of a container that runs the job's command.

    Only ASCII is put into them: what is signed may not depend on how text is encoded.

    Raises:
        Unsuitable: they would be longer than the kernel takes.
    """
    wrapped = wrap(spec, key, urls=urls, idle=False)
    exports = "".join(
        f"export {name}={ascii_word(text)}\n" for name, text in sorted(wrapped.env.items())
    )
    # Nothing of the job is left in the variable that the job itself inherits.
    command = " ".join(ascii_word(word) for word in wrapped.argv)
    text = f"unset {COMMAND}\n{exports}exec {command}"
    if len(f"{COMMAND}={text}") >= MAX_ARG_STRLEN:
        raise Unsuitable(
            "the command and the variables of this job are too large for one variable; pass large "
            "data as a file"
        )
    return {COMMAND: text}


def chunk_spec(
    spec: JobSpec, render: Render, frames: tuple[int, ...], links: Mapping[str, str]
) -> JobSpec:
    """The job that renders these frames in an image that has Blender for its Python.

    `links` says where to put each file once it is there.
    """
    scripts = files("providers.render.blender")
    size = render.resolution
    plan = {
        "scene": ".render/scene.blend",
        "journal": ".render/journal",
        "painter": ["python3", ".render/paint.py"],
        "frames": frames,
        "chunk": len(frames),
        "retries": render.retries,
        "workers": 1,
        "threads": max(1, int(spec.resources.cpu)),
        "engine": render.engine,
        "samples": render.samples,
        "resolution": [size.width, size.height] if size else None,
        "format": render.format,
        "extension": _EXTENSIONS[render.format],
        "previews": render.previews,
        "echo": FRAME_MARK,
        "links": dict(links),
    }
    names = ("supervise.py", "paint.py")
    load = {
        "scene": render.scene,
        "sha256": render.sha256,
        "files": {
            **{name: scripts.joinpath(name).read_text(encoding="utf-8") for name in names},
            "plan.json": json.dumps(plan),
        },
    }
    packed = base64.b64encode(zlib.compress(json.dumps(load).encode(), 9)).decode()
    return JobSpec(
        name=spec.name,
        command=("python3", "-c", _BOOTSTRAP),
        env={"CORTEX_RENDER": packed},
        resources=spec.resources,
        duration=spec.duration,
    )


def plain_env(env: Mapping[str, str]) -> dict[str, str]:
    """The variables of an image that runs its own command.

    Raises:
        Unsuitable: one is not ASCII, so it could not be signed safely.
    """
    for name, text in env.items():
        if not text.isascii():
            raise Unsuitable(f"the variable `{name}` is not ASCII, which this network cannot take")
    return dict(env)
