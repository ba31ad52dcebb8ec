"""The wicked folder: every kind of file that has ever cost somebody a result.

`SCRIPT` makes it in a job's working folder; `FILES` and `LEFT_OUT` are what every provider makes of
it when `OUTPUTS` are declared.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from providers.collected import Collected

MANY: Final = 10_000
SPARSE: Final = 200 * 2**20
DEEP: Final = 200

RESOURCES: Final = {"memory": "512Mi", "storage": "2Gi"}

SCRIPT: Final = f"""
echo v > -v.txt; echo top > top.txt
mkdir w w/empty w/names w/links w/odd w/many w/glob w/glob/deep w/glob/.hidden side && cd w
cd names
printf a > "$(printf 'caf\\351.txt')"; printf b > "$(printf 'caf\\350.txt')"
printf c > 'caf%E9.txt'
printf d > 'with space'; printf e > 'ümläut ß'; printf f > '%#?&+='; printf g > "quo'te\\""
printf h > 'back\\slash'; printf i > "$(printf 'new\\nline')"; printf j > '-rf'; printf k > '*'
printf l > ' '; printf m > .dot; printf n > "$(printf 'esc\\033[31m')"; printf o > '$HOME;`id`'
printf p > "$(printf '%0255d' 7)"
cd ../links
echo model > real.pt; ln real.pt hard.pt; ln -s real.pt latest.pt; ln -s ../../side/s.txt side.txt
echo side > ../../side/s.txt; ln -s ../../side folder; ln -s latest.pt twice.pt
ln -s /etc/passwd passwd; ln -s ../../../../../../../../../../../../etc up; ln -s nowhere broken
ln -s loop loop; ln -s .. above
cd ../odd
mkfifo fifo; mknod device c 1 3 2>/dev/null && echo made device
python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind("socket")' 2>/dev/null && echo made socket
echo a > a.txt; echo locked > locked; echo z > z.txt; chmod 000 locked
[ -r locked ] || echo made locked
cd ..
dd if=/dev/null of=sparse bs=1 seek={SPARSE} 2>/dev/null
i=0; while [ $i -lt {MANY} ]; do echo $i > many/$i; i=$((i+1)); done
(i=0; while [ $i -lt {DEEP} ]; do mkdir d && cd d || exit; i=$((i+1)); done; echo deep > end)
cd glob
for name in a.log b.log é.log ab.log .c.log a.txt deep/d.log .hidden/e.log '[ab].log' x1 x2 x9; do
    printf %s "$name" > "$name"
done
"""

OUTPUTS: Final = (
    "-v.txt",
    "top.txt",
    "w/empty",
    "w/names",
    "w/links",
    "w/odd",
    "w/many",
    "w/sparse",
    "w/d",
    "w/glob/[ab].log",
    "w/glob/?.log",
    "w/glob/**/d.log",
    "w/glob/x[!2-8]",
    "none-*.txt",
    "missing",
)
UNMATCHED: Final = ("none-*.txt", "missing")
"""Of `OUTPUTS`, what matches nothing."""

_TEXTS: Final = {
    "-v.txt": "v\n",
    "top.txt": "top\n",
    "w/names/caf%E9~2.txt": "a",
    "w/names/caf%E8.txt": "b",
    "w/names/caf%E9.txt": "c",
    "w/names/with space": "d",
    "w/names/ümläut ß": "e",
    "w/names/%#?&+=": "f",
    "w/names/quo'te\"": "g",
    "w/names/back\\slash": "h",
    "w/names/new%0Aline": "i",
    "w/names/-rf": "j",
    "w/names/*": "k",
    "w/names/ ": "l",
    "w/names/.dot": "m",
    "w/names/esc%1B[31m": "n",
    "w/names/$HOME;`id`": "o",
    f"w/names/{7:0255}": "p",
    "w/links/real.pt": "model\n",
    "w/links/hard.pt": "model\n",
    "w/links/latest.pt": "model\n",
    "w/links/twice.pt": "model\n",
    "w/links/side.txt": "side\n",
    "w/links/folder/s.txt": "side\n",
    "w/odd/a.txt": "a\n",
    "w/odd/z.txt": "z\n",
    "w/" + "d/" * DEEP + "end": "deep\n",
    "w/glob/[ab].log": "[ab].log",
    "w/glob/a.log": "a.log",
    "w/glob/b.log": "b.log",
    "w/glob/é.log": "é.log",
    "w/glob/deep/d.log": "deep/d.log",
    "w/glob/x1": "x1",
    "w/glob/x9": "x9",
}
FOLDERS: Final = ("w/empty",)
"""Those that are empty."""
RAW: Final = {
    "w/names/caf%E9~2.txt": b"w/names/caf\xe9.txt",
    "w/names/caf%E8.txt": b"w/names/caf\xe8.txt",
    "w/names/new%0Aline": b"w/names/new\nline",
    "w/names/esc%1B[31m": b"w/names/esc\x1b[31m",
}
"""The names that the job gave, where they are others."""
LEFT_OUT: Final = {
    "w/links/passwd": "is a link that leads out of the working folder",
    "w/links/up": "is a link that leads out of the working folder",
    "w/links/broken": "is a link to nothing",
    "w/links/loop": "is a link that leads in circles",
    "w/links/above": "is a link that leads in circles",
    "w/odd/fifo": "is a named pipe",
}
MAYBE: Final = {
    "device": ("w/odd/device", "is a device"),
    "socket": ("w/odd/socket", "is a socket"),
    "locked": ("w/odd/locked", "may not be read by the job's user"),
}
"""What only some jobs can make: their log says `made device`. A file that everybody may read,
though its mode says nobody, is kept."""
LOCKED: Final = ("w/odd/locked", "locked\n")


def listing(*, locked: bool) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file that is kept; `locked`: the locked one is none of them."""
    texts = dict(_TEXTS) if locked else {**_TEXTS, LOCKED[0]: LOCKED[1]}
    texts |= {f"w/many/{number}": f"{number}\n" for number in range(MANY)}
    files = {path: _facts(text.encode()) for path, text in texts.items()}
    return {**files, "w/sparse": _facts(bytes(SPARSE))}


def facts(folder: Path, paths: Sequence[Path]) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of what was written. Blocking."""
    files = {}
    for path in paths:
        with (folder / path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[str(path)] = (file.tell(), digest)
    return files


def shown(provider_id: str, files: Mapping[str, tuple[int, str]], written: Collected) -> str:
    """The listing for people (`pytest -rP` prints it): one line of figures, then each path but
    those of `many`, which the digest covers.
    """
    lines = [f"{digest}  {size:>11}  {path}" for path, (size, digest) in sorted(files.items())]
    whole = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    size = sum(size for size, _ in files.values())
    head = (
        f"{provider_id}: {len(files)} files, {size} bytes, {len(written.folders)} empty folders, "
        f"{len(written.left_out)} left out, SHA-256 of the list {whole}"
    )
    few = [line for line in lines if "  w/many/" not in line]
    few += [f"{'empty folder':>77}  {path}/" for path in written.folders]
    few += [f"{'left out':>77}  {left_out.path} {left_out.reason}" for left_out in written.left_out]
    return "\n".join([head, *few, ""])


def _facts(content: bytes) -> tuple[int, str]:
    return len(content), hashlib.sha256(content).hexdigest()
