"""Editors on tiny checkpoints of the real pipelines; sizes, alignment, errors."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from diffusers.pipelines.flux import pipeline_flux_kontext
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit, pipeline_qwenimage_edit_plus
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from capture_bridge.errors import SetupError
from realmaster.editors import EDITORS, EditorOptions, load_editor
from realmaster.families.image_editors import (
    FAMILIES,
    DiffusionEditor,
    fitted,
    kontext_size,
    qwen_size,
    taken_back,
)
from tests.realmaster.families.tiny_editors import write_tiny_kontext, write_tiny_qwen
from tests.realmaster.fast_frames import MemoryFrame, memory_frames

WRITERS = {"qwen-image-edit": write_tiny_qwen, "flux-kontext": write_tiny_kontext}
NAMES = list(WRITERS)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def frame() -> MemoryFrame:
    return memory_frames(1, (90, 50), buffers=("color",))[0]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipelines' own sizes, made small."""
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 64)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 56 * 56)
    monkeypatch.setattr(
        pipeline_flux_kontext, "PREFERRED_KONTEXT_RESOLUTIONS", [(48, 64), (64, 64), (64, 48)]
    )


def editor(name: str, checkpoints: dict[str, Path]) -> DiffusionEditor:
    options = EditorOptions(editor_weights=str(checkpoints[name]), editor_steps=2)
    made = load_editor(name, options)
    assert isinstance(made, DiffusionEditor)
    return made


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", NAMES)
def test_an_edit_has_the_frames_size_and_hears_seed_prompt_and_picture(
    name: str, checkpoints: dict[str, Path], frame: MemoryFrame
) -> None:
    model = editor(name, checkpoints)
    made = model.edit(frame, "a photograph", 0)
    assert made.shape == (50, 90, 3)
    assert made.dtype == np.uint8
    assert np.array_equal(made, model.edit(frame, "a photograph", 0))
    assert not np.array_equal(made, model.edit(frame, "a photograph", 1))
    assert not np.array_equal(made, model.edit(frame, "a drawing of a very old horse", 0))
    dark = MemoryFrame(0, frame.header, {"color": frame.array("color") // np.uint8(4)})
    assert not np.array_equal(made, model.edit(dark, "a photograph", 0))


@pytest.mark.usefixtures("small")
def test_the_first_qwen_image_edit_is_another_class_and_works_as_well(
    checkpoints: dict[str, Path],
    frame: MemoryFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = pipeline_qwenimage_edit.calculate_dimensions
    monkeypatch.setattr(
        pipeline_qwenimage_edit, "calculate_dimensions", lambda _, ratio: ours(64 * 64, ratio)
    )
    folder = shutil.copytree(checkpoints["qwen-image-edit"], tmp_path / "first")
    index = (folder / "model_index.json").read_text()
    (folder / "model_index.json").write_text(index.replace("EditPlusPipeline", "EditPipeline"))
    model = editor("qwen-image-edit", {"qwen-image-edit": folder})
    assert model.edit(frame, "a photograph", 0).shape == (50, 90, 3)


class Mirror:
    """A pipeline that gives back what it is shown, and notes how it was called."""

    def __init__(self) -> None:
        self.asked: dict[str, object] = {}
        self.images: list[Image.Image] = []

    def set_progress_bar_config(self, **_: object) -> None: ...

    def __call__(self, *, image: Image.Image, **asked: object) -> "Mirror":
        self.asked, self.images = asked, [image]
        return self


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(320, 180), (181, 97), (100, 240), (1280, 720)])
def test_what_an_editor_leaves_alone_stays_where_it_was(name: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (size[1] // 8 + 1, size[0] // 8 + 1, 4), dtype=np.uint8)
    color = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    shown = MemoryFrame(0, memory_frames(1, (16, 16))[0].header, {"color": color})
    mirror = Mirror()
    model = DiffusionEditor(name, mirror, FAMILIES[name], steps=1, guidance=1.0)
    made = model.edit(shown, "p", 0)
    assert made.shape == (size[1], size[0], 3)
    assert np.abs(made.astype(int) - color[..., :3]).mean() < 4
    moved = np.abs(np.roll(made, 1, 1).astype(int) - color[..., :3]).mean()
    assert np.abs(made.astype(int) - color[..., :3]).mean() < moved / 2
    assert mirror.images[0].size == (mirror.asked["width"], mirror.asked["height"])


@settings(max_examples=60, deadline=None)
@given(width=st.integers(64, 4096), height=st.integers(64, 4096))
def test_working_sizes_are_what_the_pipelines_make_of_themselves(width: int, height: int) -> None:
    if not 0.4 < width / height < 2.5:
        return
    size = qwen_size((width, height))
    assert pipeline_qwenimage_edit_plus.calculate_dimensions(1024 * 1024, size[0] / size[1]) == size
    assert size[0] % 32 == size[1] % 32 == 0
    assert kontext_size(kontext_size((width, height))) == kontext_size((width, height))


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(16, 200),
    height=st.integers(16, 200),
    into=st.sampled_from([(64, 64), (128, 96), (96, 160)]),
)
def test_a_picture_fitted_and_taken_back_has_its_size(
    width: int, height: int, into: tuple[int, int]
) -> None:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    picture = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=-1)
    canvas = fitted(picture, into)
    assert canvas.shape == (into[1], into[0], 3)
    back = taken_back(canvas, (width, height))
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).mean() < 8


def test_wrong_or_missing_weights_end_in_one_line(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    qwen, kontext = (checkpoints[name] for name in NAMES)
    with pytest.raises(SetupError, match="holds a FluxKontextPipeline"):
        load_editor("qwen-image-edit", EditorOptions(editor_weights=str(kontext)))
    with pytest.raises(SetupError, match="holds a QwenImageEditPlusPipeline"):
        load_editor("flux-kontext", EditorOptions(editor_weights=str(qwen)))
    broken = write_tiny_kontext(tmp_path / "broken")
    weights = next((broken / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(SetupError, match=r"damaged|cannot be read") as caught:
        load_editor("flux-kontext", EditorOptions(editor_weights=str(broken)))
    assert "\n" not in str(caught.value)
    (qwen_like := tmp_path / "layout").mkdir()
    (qwen_like / "transformer").mkdir()
    (qwen_like / "transformer" / "x.safetensors").write_bytes(b"1")
    with pytest.raises(SetupError, match=r"model_index\.json"):
        load_editor("qwen-image-edit", EditorOptions(editor_weights=str(qwen_like)))
    assert json.loads((qwen / "model_index.json").read_text())["processor"]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_gpu_the_truth_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SetupError, match="--editor truth"):
        load_editor(name)
    assert EDITORS[name].source
