"""The stages of pairs.py with their models open: an editor, a propagator, the gates.

Knows the tables of who does what (editors.py, propagation.py) and the prompts of games.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from capture_bridge.session import SessionFrame
from realmaster.anchors import AnchorRules, EditedAnchors, edit_anchors
from realmaster.edit_prompts import game_prompts
from realmaster.editors import load_editor
from realmaster.faces import open_faces
from realmaster.gates import Verdict, judge
from realmaster.pairs import PairSettings
from realmaster.propagation import Propagated, load_propagator

U8 = NDArray[np.uint8]


class OpenStages:
    """pairs.Stages as the settings name them. Raises SetupError where something is missing."""

    def __init__(self, settings: PairSettings) -> None:
        self._settings = settings
        self._editor = load_editor(settings.editor, settings.editing)
        self._propagator = load_propagator(settings.propagator, settings.propagation)
        self._faces = None if settings.faces is None else open_faces(settings.faces)
        self.requires = self._propagator.requires | {"color"}

    def anchors(self, frames: Sequence[SessionFrame]) -> EditedAnchors:
        """Photoreal pictures of the clip's ends, and of a frame between where that is needed."""
        options = self._settings.editing
        game = frames[0].session.info.hello.game
        prompt = options.edit_prompt or game_prompts(game, options.prompts).edit
        return edit_anchors(frames, self._editor, prompt, AnchorRules(seeds=options.seeds))

    def propagate(self, frames: Sequence[SessionFrame], anchors: Mapping[int, U8]) -> Propagated:
        """Pictures of all frames; holes is the share of pixels that no anchor shows."""
        return self._propagator.propagate(frames, anchors)

    def judge(
        self, frames: Sequence[SessionFrame], made: Propagated, anchors: Mapping[int, U8]
    ) -> Verdict:
        """The gates' verdict."""
        pictures = list(made.pictures)
        return judge(frames, pictures, anchors, self._settings.limits, faces=self._faces)
