"""Packing the outputs of jobs as files of another."""

import os
import tarfile
from pathlib import Path

import pytest

from activities.jobs.inputs import InputStore
from cortex.domain.spec.inputs import Input
from providers.errors import InvalidSpec, NoCapacity
from providers.unpack import unpack_inputs

JOB = "job_01jjjjjjjjjjjjjjjjjjjjjjjj"
OTHER = "job_01jjjjjjjjjjjjjjjjjjjjjjjk"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """The kept outputs of two jobs, and something beside them that is nobody's business."""
    for name, content in {
        f"{JOB}/data/a.txt": "a",
        f"{JOB}/data/deep/b.txt": "b",
        f"{JOB}/run.sh": "#!/bin/sh",
        f"{OTHER}/data/a.txt": "other",
        "secret": "hush",
    }.items():
        path = tmp_path / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "outputs" / JOB / "run.sh").chmod(0o755)
    return tmp_path / "outputs"


async def unpacked(outputs: Path, *inputs: Input) -> dict[str, str]:
    target = outputs.parent / "work"
    target.mkdir(exist_ok=True)
    async with InputStore(outputs).packed(inputs) as archive:
        unpack_inputs(archive, target)
        unpack_inputs(archive, target)
    assert not archive.exists()
    return {
        str(path.relative_to(target)): path.read_text()
        for path in sorted(target.rglob("*"))
        if path.is_file()
    }


async def test_a_folder_a_file_and_all_of_it(outputs: Path) -> None:
    assert await unpacked(
        outputs,
        Input(source=JOB, path="data", to="in"),
        Input(source=JOB, path="run.sh", to="bin"),
        Input(source=OTHER, to="all/1"),
        Input(source=JOB, path="data/deep/b.txt"),
    ) == {
        "in/a.txt": "a",
        "in/deep/b.txt": "b",
        "bin/run.sh": "#!/bin/sh",
        "all/1/data/a.txt": "other",
        "b.txt": "b",
    }
    assert os.access(outputs.parent / "work/bin/run.sh", os.X_OK)


async def test_two_files_at_one_place_are_refused(outputs: Path) -> None:
    """The second would replace the first in silence; the same file twice does no harm."""
    both = [Input(source=JOB, path="data"), Input(source=OTHER, path="data")]
    with pytest.raises(InvalidSpec) as refused:
        await unpacked(outputs, *both)
    assert "another `a.txt` in the place" in str(refused.value)
    assert JOB in str(refused.value)
    assert OTHER in str(refused.value)
    (outputs / OTHER / "data/a.txt").write_text("a")
    assert await unpacked(outputs, *both) == {"a.txt": "a", "deep/b.txt": "b"}


@pytest.mark.parametrize("turn", [1, -1])
async def test_a_file_in_the_place_of_a_folder_is_refused(outputs: Path, turn: int) -> None:
    (outputs / OTHER / "data/deep").write_text("a file")
    both = [Input(source=JOB, path="data"), Input(source=OTHER, path="data/deep")]
    with pytest.raises(InvalidSpec, match="another `deep`"):
        await unpacked(outputs, *both[::turn])


async def test_empty_folders_are_inputs_too(outputs: Path) -> None:
    (outputs / JOB / "data/empty").mkdir()
    await unpacked(outputs, Input(source=JOB, path="data", to="in"))
    assert (outputs.parent / "work/in/empty").is_dir()


async def test_what_is_not_there_is_named(outputs: Path) -> None:
    store = InputStore(outputs)
    assert await store.problem([Input(source=JOB, path="data")]) is None
    missing = Input(source=JOB, path="nothing/here")
    said = await store.problem([Input(source=JOB), missing])
    assert said is not None
    assert f"`nothing/here` of job `{JOB}` is not there" in said
    with pytest.raises(InvalidSpec, match="nothing/here"):
        async with store.packed([missing]):
            pass
    gone = Input(source="job_01jjjjjjjjjjjjjjjjjjjjjjjm")
    assert "the outputs of job" in str(await store.problem([gone]))
    assert not [name for name in os.listdir(outputs) if name.endswith(".part")]


async def test_nothing_outside_of_the_job(outputs: Path) -> None:
    (outputs / JOB / "way").symlink_to(outputs)
    (outputs / JOB / "data/link").symlink_to(outputs / "secret")
    store = InputStore(outputs)
    assert await store.problem([Input(source=JOB, path="way/secret")]) is not None
    assert await store.problem([Input(source=JOB, path="data/link")]) is not None
    assert await store.problem([Input(source="..")]) is not None
    assert await store.problem([Input(source=f"{JOB}/data")]) is not None
    files = await unpacked(outputs, Input(source=JOB))
    assert set(files) == {"data/a.txt", "data/deep/b.txt", "run.sh"}


def test_an_archive_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    target = tmp_path / "work"
    target.mkdir()
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("../out.txt", "/abs.txt", "in/fine.txt"):
            tar.add(tmp_path / "x", name)
    unpack_inputs(archive, target)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.txt")} == {
        "work/abs.txt",
        "work/in/fine.txt",
    }


async def test_nothing_is_packed_that_would_take_the_room_of_the_servers(outputs: Path) -> None:
    store = InputStore(outputs, keep_free=2**60)
    with pytest.raises(NoCapacity, match="inputs of the job have 11, .* has room for 0 to pack"):
        async with store.packed([Input(source=JOB)]):
            pass
    assert {name for name in os.listdir(outputs) if name.startswith(".inputs")} == set()
