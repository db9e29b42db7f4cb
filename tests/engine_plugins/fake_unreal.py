"""The part of the Unreal editor's Python API that export_camera.py uses, over a made-up project.

It states which calls the script relies on; only the editor can prove that they mean this.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Record:
    """An object of the editor: any fields."""

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


def record(**values: Any) -> Record:
    return Record(values)


class CameraComponent:
    """A camera that moves with the play head."""

    def __init__(self, editor: "Editor", pose: Callable[[int], Any], fov: float) -> None:
        self.editor, self.pose, self.field_of_view = editor, pose, fov

    def get_world_location(self) -> Record:
        x, y, z = self.pose(self.editor.frame)[0]
        return record(x=x, y=y, z=z)

    def get_world_rotation(self) -> Record:
        pitch, yaw, roll = self.pose(self.editor.frame)[1]
        return record(pitch=pitch, yaw=yaw, roll=roll)


class CineCameraComponent(CameraComponent):
    current_focal_length = 35.0
    filmback = record(sensor_width=36.0)


@dataclass
class Actor:
    label: str
    component: CameraComponent

    def get_actor_label(self) -> str:
        return self.label

    def get_component_by_class(self, kind: type) -> CameraComponent:
        assert isinstance(self.component, kind)
        return self.component


@dataclass
class Section:
    start: int
    end: int
    camera: str = ""
    inner: "Sequence | None" = None
    name: str = ""

    def get_start_frame(self) -> int:
        return self.start

    def get_end_frame(self) -> int:
        return self.end

    def get_camera_binding_id(self) -> str:
        return self.camera

    def get_sequence(self) -> "Sequence | None":
        return self.inner

    def get_shot_display_name(self) -> str:
        return self.name


class CameraCutTrack: ...


class ShotTrack: ...


@dataclass
class Sequence:
    path: str
    start: int
    end: int
    cuts: list[Section] = field(default_factory=list)
    shots: list[Section] = field(default_factory=list)
    rate: Record = field(default_factory=lambda: record(numerator=24000, denominator=1001))

    def get_path_name(self) -> str:
        return self.path

    def get_display_rate(self) -> Record:
        return self.rate

    def get_playback_start(self) -> int:
        return self.start

    def get_playback_end(self) -> int:
        return self.end

    def find_tracks_by_exact_type(self, kind: type) -> list[Record]:
        sections = {CameraCutTrack: self.cuts, ShotTrack: self.shots}[kind]
        return [record(get_sections=lambda: sections)] if sections else []

    def resolve_binding_id(self, binding: str) -> tuple[str, str]:
        return self.path, binding

    def get_portable_binding_id(self, inner: "Sequence", binding: tuple[str, str]) -> str:
        assert binding[0] == inner.path
        return binding[1]


@dataclass
class Editor:
    """The sequencer's window and the queue."""

    sequences: dict[str, Sequence]
    actors: dict[str, Actor] = field(default_factory=dict)
    jobs: list[Record] = field(default_factory=list)
    project: Path = Path()
    frame: int = 99
    open_sequence: Sequence | None = None
    lines: list[str] = field(default_factory=list)

    def set_current_time(self, frame: int) -> None:
        self.frame = frame

    def module(self) -> types.ModuleType:
        """What `import unreal` gives."""
        module: Any = types.ModuleType("unreal")
        for kind in ("Output", "Color"):
            setattr(module, f"MoviePipeline{kind}Setting", f"{kind}")
        module.MoviePipelineDeferredPassBase = "Deferred"
        module.MoviePipelineQueueSubsystem = "queue"
        module.MovieSceneCameraCutTrack = CameraCutTrack
        module.MovieSceneCinematicShotTrack = ShotTrack
        module.CameraComponent = CameraComponent
        module.CineCameraComponent = CineCameraComponent
        queue = record(get_jobs=lambda: self.jobs)
        module.get_editor_subsystem = {"queue": record(get_queue=lambda: queue)}.__getitem__
        module.load_asset = self.sequences.__getitem__
        module.log = module.log_error = self.lines.append
        module.SystemLibrary = record(
            conv_soft_obj_path_to_soft_obj_ref=lambda path: path,
            conv_soft_object_reference_to_string=str,
            get_engine_version=lambda: "5.5.4-0+++UE5+Release-5.5",
        )
        module.Paths = record(
            project_dir=lambda: f"{self.project}/",
            get_project_file_path=lambda: f"{self.project}/City.uproject",
            convert_relative_path_to_full=str,
        )
        module.LevelSequenceEditorBlueprintLibrary = record(
            open_level_sequence=lambda s: setattr(self, "open_sequence", s),
            get_current_time=lambda: self.frame,
            set_current_time=self.set_current_time,
            force_update=lambda: None,
            get_bound_objects=lambda name: [self.actors[name]] if name in self.actors else [],
        )
        return module

    def add_job(self, sequence: str, folder: str, **output: Any) -> None:
        """A job with Movie Render Queue's own motion material, and its output settings."""
        defaults = {
            "use_custom_frame_rate": False,
            "use_custom_playback_range": False,
            "output_frame_step": 1,
            "frame_number_offset": 0,
            "output_directory": record(path=folder),
        }
        motion = record(get_name=lambda: "MovieRenderQueue_MotionVectors")
        settings = {
            "Output": record(**(defaults | output)),
            "Color": None,
            "Deferred": record(
                additional_post_process_materials=[record(enabled=True, material=motion)]
            ),
        }
        config = record(find_setting_by_class=settings.__getitem__)
        self.jobs.append(
            record(sequence=sequence, job_name="Drive", get_configuration=lambda: config)
        )
