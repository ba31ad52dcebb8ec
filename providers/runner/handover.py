"""What a job needs and nobody else may read, for networks that show its definition to everybody.

The definition has a link by which the drop box gives one object, once, and a pad: random bytes as
long as the object. The object is the job's secrets and the runner's own links, XOR the pad. So
neither the definition alone nor the drop box alone tells them; and once the job has taken the
object, what stands in the definition opens nothing for ever. Who takes it before the job does is
found out: the runner does not start the command then.
"""

import hashlib
import shlex
from collections.abc import Mapping

from providers.runner.wrap import RunnerUrls, Wrapped

_LINE = 64


HANDOVER_URL = "CORTEX_RUNNER_HANDOVER_URL"
"""The variable for the link by which the runner takes it; put in when the link is made."""


def hand_over(
    wrapped: Wrapped, urls: RunnerUrls, *, seed: bytes, needed: bool
) -> tuple[dict[str, str], bytes]:
    """The variables for the definition, and the object for the drop box.

    `wrapped` has its secrets hidden. `seed` is secret and of this lease alone: from it comes
    the pad, the same in every try. Without what is `needed` the command is not started.
    """
    content, pad = sealed(wrapped.hidden, urls, seed=seed)
    env = {**wrapped.env, HANDOVER_URL: "later", "CORTEX_RUNNER_HANDOVER_PAD": pad}
    if needed:
        env["CORTEX_RUNNER_HANDOVER_NEEDED"] = "1"
    return env, content


def sealed(secrets: Mapping[str, str], urls: RunnerUrls, *, seed: bytes) -> tuple[bytes, str]:
    """The object for the drop box, and the pad for the definition."""
    links = {
        "inputs_url": urls.inputs,
        "outputs_url": urls.outputs,
        "result_url": urls.result,
        "long_url": urls.long,
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in links.items() if value]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in secrets.items()]
    plain = "\n".join(lines).encode()
    pad = hashlib.shake_256(b"cortex-handover:" + seed).digest(len(plain))
    mixed = bytes(one ^ other for one, other in zip(plain, pad, strict=True))
    return "\n".join([*_hex_lines(mixed), ""]).encode(), ",".join(_hex_lines(pad))


def _hex_lines(data: bytes) -> list[str]:
    return [data[place : place + _LINE].hex() for place in range(0, len(data), _LINE)]
