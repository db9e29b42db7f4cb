"""The doctor: what it finds here, and what it says of other machines."""

from dataclasses import replace
from pathlib import Path

import pytest

from realmaster.cli import main
from realmaster.doctor import Gpu, Machine, diagnose, report, verdict
from realmaster.families.presets import PRESETS

BARE = Machine("3.11.2", "Linux", 2, (), {}, "2.13.0+cpu", False, {}, Path("weights"), 500.0)


def test_it_runs_here_and_lists_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for name in ("fast", *PRESETS):
        assert f"\n{name} " in told


def test_what_is_missing_comes_with_its_cure() -> None:
    told = "\n".join(report(replace(BARE, missing={"diffusion tier": ("torch",)})))
    assert "pip install 'realmaster[diffusion]'" in told
    assert "no NVIDIA GPU" in told


def test_a_card_is_judged_by_its_free_memory() -> None:
    card = Gpu("NVIDIA GeForce RTX 4090", "580.1", 24.0, 22.5)
    told = report(replace(BARE, gpus=(card,), cached={PRESETS["wan2.2-5b"].source: True}))
    assert any("does not see the GPU" in line for line in told)
    row = next(line for line in told if line.startswith("wan2.2-5b"))
    assert "fits with offload" in row
    assert "(on disk)" in row
    assert verdict(PRESETS["wan2.2-a14b"], 8.0) == "needs a GPU with 24 GiB free"


def test_weights_on_disk_are_told_from_a_download_that_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert diagnose().cached == {}
    for name, parts in (("whole", ("transformer", "vae")), ("cut", ("vae",))):
        snapshot = tmp_path / "hub" / f"models--someone--{name}" / "snapshots" / "a"
        for part in parts:
            (snapshot / part).mkdir(parents=True)
            (snapshot / part / "model.safetensors").write_bytes(b"0")
    found = diagnose()
    assert found.cached == {"someone/whole": True, "someone/cut": False}
    assert found.weights_folder == tmp_path / "hub"
    assert found.free_disk_gib > 0
    source = PRESETS["ltx-2.3"].source
    for cached, state in (({}, "fetched at first use"), ({source: False}, "partly on disk")):
        told = report(replace(BARE, cached=cached))
        assert any(source in line and state in line for line in told)


def test_nvidia_smi_is_read_and_may_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import subprocess

    def answer(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        text = "NVIDIA H100, 570.1, 81559, 80000\nbroken line\n"
        return subprocess.CompletedProcess([], 0, text, "")

    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("subprocess.run", answer)
    (gpu,) = diagnose().gpus
    assert gpu.name == "NVIDIA H100"
    assert gpu.free_gib == pytest.approx(78.1, abs=0.1)

    def fail(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 20)

    monkeypatch.setattr("subprocess.run", fail)
    assert diagnose().gpus == ()
