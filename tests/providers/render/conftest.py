"""What the render tests share; no process of theirs outlives them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.providers.render.support import make_scene, need_blender, painters


@pytest.fixture
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder; nothing that renders for it may outlive the test."""
    folder = tmp_path_factory.mktemp("renders")
    yield folder
    left = painters(folder)
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture(scope="session")
def blend(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene made by Blender; the test is skipped where there is none."""
    need_blender()
    return make_scene(tmp_path_factory.mktemp("scenes") / "scene.blend")
