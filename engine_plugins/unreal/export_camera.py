"""Runs inside the Unreal editor: writes a render's cameras beside its EXR files, as JSON.

In the editor: Tools > Execute Python Script, or in the console `py "<path>/export_camera.py"`, with
the job in Movie Render Queue's window. Without arguments each job's file goes into its output
folder; `py "export_camera.py" D:/renders/drive` says where. `realmaster import` then finds
realmaster_camera.json by itself. Times are frame numbers of the sequence's display rate, as
`{frame_number}` in file names. Knows Unreal's Python API alone: this file is copied as it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unreal

FORMAT = "realmaster-unreal-camera-1"
NAME = "realmaster_camera.json"
#: Movie Render Queue's own motion material: 0.5 is no motion (engine_plugins/unreal/layers.py).
_BIASED_MOTION = "MovieRenderQueue_MotionVectors"


@dataclass(frozen=True)
class Cut:
    """A stretch of frames of the main sequence that one camera shows; last is exclusive.

    binding: how the main sequence names the camera.
    """

    first: int
    last: int
    shot: str
    binding: Any


def main(arguments: list[str]) -> None:
    """Export the cameras of every job in the queue."""
    queue = unreal.get_editor_subsystem(unreal.MoviePipelineQueueSubsystem).get_queue()
    jobs = list(queue.get_jobs())
    if not jobs:
        unreal.log_error("RealMaster: Movie Render Queue holds no job; add the sequence first")
        return
    if arguments and len(jobs) > 1:
        unreal.log_error("RealMaster: a folder was given, but the queue holds several jobs")
        return
    for job in jobs:
        folder = Path(arguments[0]) if arguments else output_folder(job)
        told = export(job)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        path.write_text(json.dumps(told), encoding="utf-8")
        unreal.log(f"RealMaster: {len(told['frames'])} frames of {told['sequence']} in {path}")


def export(job: Any) -> dict[str, Any]:
    """The sidecar of one job."""
    library = unreal.SystemLibrary
    reference = library.conv_soft_obj_path_to_soft_obj_ref(job.sequence)
    sequence = unreal.load_asset(library.conv_soft_object_reference_to_string(reference))
    output = _setting(job, unreal.MoviePipelineOutputSetting)
    rate = output.output_frame_rate if output.use_custom_frame_rate else sequence.get_display_rate()
    first, last = sequence.get_playback_start(), sequence.get_playback_end()
    if output.use_custom_playback_range:
        first, last = output.custom_start_frame, output.custom_end_frame
    if output.use_custom_frame_rate and _differs(rate, sequence.get_display_rate()):
        raise RuntimeError(
            "RealMaster: the job renders at another rate than the sequence's; set both to one, so "
            "that frame numbers mean frames"
        )
    step = max(1, output.output_frame_step)
    frames = list(cameras(sequence, first, last, step, output.frame_number_offset))
    told: dict[str, Any] = {
        "format": FORMAT,
        "engine_version": library.get_engine_version(),
        "project": Path(unreal.Paths.get_project_file_path()).stem,
        "sequence": sequence.get_path_name(),
        "frame_rate": [rate.numerator, rate.denominator],
        "frame_step": step,
        "tone_curve": _tone_curve(job),
        "frames": frames,
    }
    if _has_biased_motion(job):
        told["motion_encoding"] = "biased"
    return told


def cameras(
    sequence: Any, first: int, last: int, step: int, offset: int
) -> Iterator[dict[str, Any]]:
    """One row for every frame that a camera shows; the editor's play head goes there and back."""
    editor = unreal.LevelSequenceEditorBlueprintLibrary
    editor.open_level_sequence(sequence)
    kept = editor.get_current_time()
    cuts = list(find_cuts(sequence))
    try:
        for frame in range(first, last, step):
            cut = next((c for c in cuts if c.first <= frame < c.last), None)
            if cut is None:
                continue
            editor.set_current_time(frame)
            editor.force_update()
            actors = editor.get_bound_objects(cut.binding)
            if actors:
                yield {"number": frame + offset, "shot": cut.shot, **camera_row(actors[0])}
    finally:
        editor.set_current_time(kept)


def find_cuts(sequence: Any) -> Iterator[Cut]:
    """The camera cuts of a sequence and of its shots, in the frames of the sequence."""
    for track in sequence.find_tracks_by_exact_type(unreal.MovieSceneCinematicShotTrack):
        for section in track.get_sections():
            inner = section.get_sequence()
            begin, end = section.get_start_frame(), section.get_end_frame()
            delta = begin - inner.get_playback_start()
            for cut in _own_cuts(sequence, inner, section.get_shot_display_name()):
                first, last = max(cut.first + delta, begin), min(cut.last + delta, end)
                if first < last:
                    yield Cut(first, last, cut.shot, cut.binding)
    yield from _own_cuts(sequence, sequence, "")


def _own_cuts(root: Any, sequence: Any, shot: str) -> Iterator[Cut]:
    for track in sequence.find_tracks_by_exact_type(unreal.MovieSceneCameraCutTrack):
        for section in track.get_sections():
            binding = sequence.resolve_binding_id(section.get_camera_binding_id())
            portable = root.get_portable_binding_id(sequence, binding)
            yield Cut(section.get_start_frame(), section.get_end_frame(), shot, portable)


def camera_row(actor: Any) -> dict[str, Any]:
    """Where a camera actor stands now and how wide it sees: centimetres, degrees."""
    lens = actor.get_component_by_class(unreal.CameraComponent)
    place, turn = lens.get_world_location(), lens.get_world_rotation()
    row: dict[str, Any] = {
        "camera": actor.get_actor_label(),
        "location_cm": [place.x, place.y, place.z],
        "rotation_deg": [turn.pitch, turn.yaw, turn.roll],
        "fov_deg": lens.field_of_view,
    }
    if isinstance(lens, unreal.CineCameraComponent):
        row["focal_length_mm"] = lens.current_focal_length
        row["sensor_width_mm"] = lens.filmback.sensor_width
    return row


def output_folder(job: Any) -> Path:
    """The job's output folder, up to the first part whose name only the render will know."""
    text = _setting(job, unreal.MoviePipelineOutputSetting).output_directory.path
    text = text.replace("{project_dir}", unreal.Paths.project_dir())
    text = text.replace("{job_name}", job.job_name)
    known = text.split("{", 1)[0]
    folder = known if known == text else known.rpartition("/")[0]
    return Path(unreal.Paths.convert_relative_path_to_full(folder))


def _setting(job: Any, kind: Any) -> Any:
    return job.get_configuration().find_setting_by_class(kind)


def _tone_curve(job: Any) -> bool:
    setting = _setting(job, unreal.MoviePipelineColorSetting)
    return setting is None or not setting.disable_tone_curve


def _has_biased_motion(job: Any) -> bool:
    rendering = _setting(job, unreal.MoviePipelineDeferredPassBase)
    passes = [] if rendering is None else rendering.additional_post_process_materials
    return any(p.enabled and _BIASED_MOTION in p.material.get_name() for p in passes if p.material)


def _differs(a: Any, b: Any) -> bool:
    return bool(a.numerator * b.denominator != b.numerator * a.denominator)


if __name__ == "__main__":
    main(sys.argv[1:])
