"""The jobs at Dispersed that a lease is made of: bodies, titles, finding them again.

A container job is one of theirs; a render job is one for each chunk of its frames. The title
carries the lease key, for the network knows no other mark that can be searched for.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cortex.domain.ids import is_lease_key
from cortex.domain.leases import LeaseRef
from cortex.domain.money import Money
from cortex.domain.offers import Offer
from cortex.domain.rendering import Render
from cortex.domain.rendering.frames import chunked, format_frames, parse_frames
from cortex.domain.spec import JobSpec
from providers.dropbox import OUTPUTS, RESULT, DropBox
from providers.errors import Unsuitable
from providers.render.config import RenderConfig
from providers.render.remote import chunk_spec, container_env, plain_env
from providers.render.wire import WireJob
from providers.runner import RunnerUrls

NOTHING = "nothing"
"""The network id of a lease that renders nothing, because all of it is rendered already."""
_TITLE = re.compile(
    r"cortex:(?P<key>[^/ ]+)"
    r"(?:/(?P<own>image)|/(?P<chunk>\d+)-(?P<count>\d+):(?P<frames>[0-9,x-]+))?"
)
_RATE = re.compile(r"at (?P<rate>\d+(?:\.\d+)?) USD per hour")
_CAP = re.compile(r"at most (?P<cap>\d+(?:\.\d+)?) USD per hour")
MAX_TITLE = 250
_MIN_RUN = timedelta(minutes=1)
MIN_ASSIGN = timedelta(minutes=5)
_START = timedelta(minutes=15)
_LINKS = timedelta(days=1)
_GIB = 2**30


@dataclass(frozen=True)
class Mark:
    """What a title says: whose job it is; of a chunk, which of how many, with which frames."""

    key: str
    chunk: int = 0
    count: int = 1
    frames: tuple[int, ...] = ()
    own: bool = False
    """The image runs its own command: nothing of Cortex is in it."""

    @property
    def title(self) -> str:
        if self.frames:
            return f"cortex:{self.key}/{self.chunk}-{self.count}:{format_frames(self.frames)}"
        return f"cortex:{self.key}{'/image' if self.own else ''}"


def mark_of(job: WireJob) -> Mark | None:
    """The mark of a job of ours; None of any other job of the account."""
    match = _TITLE.fullmatch(job.title)
    if match is None or not is_lease_key(match["key"]):
        return None
    if match["frames"] is None:
        return Mark(match["key"], own=match["own"] is not None)
    try:
        frames = parse_frames(match["frames"])
    except ValueError:
        return None
    return Mark(match["key"], int(match["chunk"]), int(match["count"]), frames)


def rate_of(job: WireJob) -> Money:
    """The price per hour that the job was submitted for; zero where that is not told any more."""
    match = _RATE.search(job.description)
    return Money(amount=Decimal(match["rate"]) if match else Decimal(0), currency="USD")


def cap_of(job: WireJob) -> Decimal | None:
    """The most in USD per hour that the job's `max_price` leaves for this one; None: no limit."""
    match = _CAP.search(job.description)
    return Decimal(match["cap"]) if match else None


def chunk_frames(render: Render) -> list[tuple[int, ...]]:
    """The frames of each chunk."""
    return chunked(render.numbers(), render.chunk)


def first_made(jobs: Sequence[WireJob], key: str) -> dict[int, WireJob]:
    """The job of each chunk of a lease: of several with one title, the first that was made.

    Two workers that submit at the same moment so agree on which of the two is to live.
    """
    by_chunk: dict[int, WireJob] = {}
    for job in sorted(jobs, key=_age):
        mark = mark_of(job)
        if mark is not None and mark.key == key:
            by_chunk.setdefault(mark.chunk, job)
    return by_chunk


def duplicates(jobs: Sequence[WireJob], key: str) -> list[WireJob]:
    """The others of them, which must not live."""
    first = {job.uuid for job in first_made(jobs, key).values()}
    marks = [(job, mark_of(job)) for job in jobs]
    return [job for job, mark in marks if mark and mark.key == key and job.uuid not in first]


def made_about(key: str) -> datetime:
    """When the job of a lease key was made: nothing of it can be older at the network."""
    body = key.removeprefix("job_").rpartition("-")[0]
    number = 0
    for char in body[:10]:
        number = number << 5 | _ALPHABET.index(char)
    return datetime.fromtimestamp(number / 1000, UTC)


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True)
class Bodies:
    """Writes the bodies of jobs, as `POST /v1/jobs` takes them."""

    config: RenderConfig
    drop: DropBox | None

    def of(self, spec: JobSpec, key: str, offer: Offer | None) -> list[tuple[Mark, dict[str, Any]]]:
        """One for each job that the lease is made of.

        Raises:
            Unsuitable: the network cannot be given such a job.
        """
        if spec.render is None:
            mark = Mark(key, own=not spec.command)
            return [(mark, self._body(spec, mark, self._container(spec, mark), offer))]
        chunks = chunk_frames(spec.render)
        bodies = []
        for number, frames in enumerate(chunks):
            mark = Mark(key, number, len(chunks), frames)
            if len(mark.title) > MAX_TITLE:
                raise Unsuitable("the frames are too scattered for one chunk; lower `render.chunk`")
            inner = chunk_spec(spec, spec.render, frames, self._links(spec, mark))
            docker = _docker(self.config.blender_image or "", self._env(inner, mark))
            bodies.append((mark, self._body(spec, mark, docker, offer)))
        return bodies

    def _container(self, spec: JobSpec, mark: Mark) -> dict[str, Any]:
        image = spec.image or self.config.runner_image
        if image is None:
            raise Unsuitable("the job names no `image`, and no `runner_image` is configured")
        if not spec.command:
            return _docker(image, plain_env(spec.environment()))
        return _docker(self.config.images.get(image, image), self._env(spec, mark))

    def _env(self, spec: JobSpec, mark: Mark) -> dict[str, str]:
        return container_env(spec, mark.key, self._urls(spec, mark))

    def _links(self, spec: JobSpec, mark: Mark) -> dict[str, str]:
        """Where each frame and its preview are put, by their paths among the outputs."""
        render = spec.render
        if render is None or self.drop is None:
            return {}
        paths = [render.output(number) for number in mark.frames]
        if render.previews:
            paths += [render.preview(number) for number in mark.frames]
        life = spec.duration + _LINKS
        return {path: self.drop.put_url(mark.key, object_of(path), life) for path in paths}

    def _urls(self, spec: JobSpec, mark: Mark) -> RunnerUrls | None:
        if self.drop is None:
            return None
        life = spec.duration + _LINKS
        put = self.drop.put_url
        return RunnerUrls(
            result=put(mark.key, drop_name(RESULT, mark.chunk), life),
            outputs=put(mark.key, drop_name(OUTPUTS, mark.chunk), life),
        )

    def _body(
        self, spec: JobSpec, mark: Mark, docker: dict[str, Any], offer: Offer | None
    ) -> dict[str, Any]:
        need, gpu = spec.resources, spec.resources.gpu
        body: dict[str, Any] = {
            "task": "BATCH",
            "title": mark.title,
            "description": f"submitted by Cortex{_at(offer)}{_at_most(spec, mark)}",
            "max_timeout_run_ms": _millis(max(spec.duration, _MIN_RUN)),
            "max_timeout_assign_ms": _millis(max(self.config.assign_within, MIN_ASSIGN)),
            "max_timeout_start_ms": _millis(_START),
            "max_retry_count": 0,
            "max_node_count": 1,
            "cpu_count": math.ceil(need.cpu),
            "gpu_count": gpu.count if gpu else 0,
            "min_ram_gb": math.ceil(need.memory / _GIB),
            "min_storage_gb": math.ceil(need.storage / _GIB),
            "parameters": {"type": "docker", "parameters": docker},
        }
        name = offer.data.get("gpu_name") if offer else None
        if gpu is not None and name:
            body["gpu_name"] = name
        regions = spec.placement.regions or self.config.region_codes
        if regions:
            body["allowed_region_codes"] = sorted(regions)
        return body


def _at(offer: Offer | None) -> str:
    rate = offer.data.get("rate") if offer else None
    return f" at {rate} USD per hour" if rate else ""


def _at_most(spec: JobSpec, mark: Mark) -> str:
    """A limit in another currency was compared where offers are ranked."""
    limit = spec.placement.max_price
    if limit is None or limit.currency != "USD":
        return ""
    return f", at most {limit.amount / mark.count:f} USD per hour"


def drop_name(name: str, chunk: int) -> str:
    """What a chunk calls an object in the drop box."""
    stem, _, ending = name.partition(".")
    return f"{stem}-{chunk}.{ending}" if chunk else name


def object_of(path: str) -> str:
    """What a result file of a render job is called in the drop box."""
    return path.replace("/", ".")


def ref_of(key: str, jobs: dict[int, WireJob]) -> LeaseRef:
    """The reference of a lease whose jobs are these."""
    if not jobs:
        return LeaseRef(key=key, network_id=NOTHING)
    uuids = [jobs[chunk].uuid for chunk in sorted(jobs)]
    data = {"jobs": " ".join(uuids)} if len(uuids) > 1 else {}
    return LeaseRef(key=key, network_id=uuids[0], data=data)


def uuids_of(ref: LeaseRef) -> list[str]:
    """The jobs of a lease, in the order of its chunks."""
    if ref.network_id == NOTHING:
        return []
    several = ref.data.get("jobs", "").split()
    # What is asked for by its id is that job, whatever else stands beside it.
    return several if several[:1] == [ref.network_id] else [ref.network_id]


def _docker(reference: str, env: dict[str, str]) -> dict[str, Any]:
    image, tag = split_image(reference)
    return {"image": image, "tag": tag, "env": env}


def split_image(reference: str) -> tuple[str, str]:
    """Image and tag, split at the last colon after the last slash.

    Raises:
        Unsuitable: it is named by a digest, which the network does not document.
    """
    if "@" in reference:
        raise Unsuitable("this network takes images by tag, not by digest")
    path, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{path}{slash}{name}", tag or "latest"


def _millis(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _age(job: WireJob) -> tuple[datetime, str]:
    return job.created_at or datetime.min.replace(tzinfo=UTC), job.uuid
