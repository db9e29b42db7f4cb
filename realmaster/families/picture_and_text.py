"""Makes a vision-language model's input of pictures and text, by the checkpoint's own parts.

In the place of transformers' Qwen2VLProcessor, which also handles videos and so wants torchvision.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from transformers import AutoTokenizer, BatchFeature, Qwen2VLImageProcessorPil

from realmaster.families.weights import load

PLACE = "<|image_pad|>"


class PictureAndText:
    """Called as the pipeline calls its processor."""

    def __init__(self, pictures: Any, tokenizer: Any) -> None:
        self._pictures, self._tokenizer = pictures, tokenizer

    @classmethod
    def load(cls, source: str) -> "PictureAndText":
        """Of a pipeline's folder or Hub id. SetupError."""
        return cls(
            load(Qwen2VLImageProcessorPil, source, "processor"),
            load(AutoTokenizer, source, "tokenizer"),
        )

    def __call__(
        self,
        text: Sequence[str],
        images: Image.Image | Sequence[Image.Image] | None = None,
        padding: bool = True,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """input_ids, attention_mask; with images pixel_values and image_grid_thw.

        Each place of a picture in a text becomes as many as the picture has patches, merged; places
        and pictures come in the same order.
        """
        seen = {} if images is None else self._pictures(images=images, return_tensors="pt")
        merged = int(self._pictures.merge_size) ** 2
        counts = [int(grid.prod()) // merged for grid in seen.get("image_grid_thw", ())]
        words = []
        for line in text:
            head, *tails = line.split(PLACE)
            words.append(head + "".join(PLACE * counts.pop(0) + tail for tail in tails))
        assert not counts, "every picture has its place in the text"
        tokens = self._tokenizer(words, padding=padding, return_tensors=return_tensors)
        return BatchFeature({**tokens, **seen})
