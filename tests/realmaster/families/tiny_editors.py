"""Checkpoints of the real editors' classes, so small that a CPU runs them; weights are random."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxTransformer2DModel,
    QwenImageTransformer2DModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
#: The letters of byte-level BPE: the printed ones themselves, the other 68 bytes from 256 on.
BYTES = [chr(code) for code in _PRINTED] + [chr(256 + n) for n in range(68)]
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def write_tiny_qwen(folder: Path) -> Path:
    """QwenImageEditPlusPipeline in diffusers' layout; its processor as the Hub's has it."""
    torch.manual_seed(0)
    tokens = {token: place for place, token in enumerate([*BYTES, *SPECIAL])}
    tokenizer = Qwen2Tokenizer(vocab=tokens, merges=[], additional_special_tokens=list(SPECIAL[1:]))
    ids = {
        f"{name}_token_id": tokens[f"<|{token}|>"]
        for name, token in {
            "vision_start": "vision_start",
            "vision_end": "vision_end",
            "image": "image_pad",
            "video": "video_pad",
        }.items()
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(tokens),
            "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default"},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
        },
        **ids,
    )
    parts = {
        "text_encoder": Qwen2_5_VLForConditionalGeneration(config),
        "tokenizer": tokenizer,
        "processor": Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56),
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "vae": AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        "transformer": QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    libraries = {
        "processor": ["transformers", "Qwen2VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    index = {"_class_name": "QwenImageEditPlusPipeline", "_diffusers_version": "0.42.1"}
    (folder / "model_index.json").write_text(json.dumps(index | libraries))
    return folder


def write_tiny_kontext(folder: Path) -> Path:
    """FluxKontextPipeline, as it saves itself."""
    torch.manual_seed(0)
    clip_tokens = {
        token: place
        for place, token in enumerate(
            [*BYTES, *(letter + "</w>" for letter in BYTES), "<|startoftext|>", "<|endoftext|>"]
        )
    }
    clip = CLIPTextConfig(
        vocab_size=len(clip_tokens),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        bos_token_id=clip_tokens["<|startoftext|>"],
        eos_token_id=clip_tokens["<|endoftext|>"],
    )
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(chr(code), -3.0) for code in range(33, 127)]
    t5 = T5Config(
        vocab_size=len(pieces) + 100, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4
    )
    FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=AutoencoderKL(
            block_out_channels=(4, 4),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=1,
            norm_num_groups=1,
            layers_per_block=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.0609,
            scaling_factor=1.5035,
        ),
        text_encoder=CLIPTextModel(clip),
        tokenizer=CLIPTokenizer(vocab=clip_tokens, merges=[], model_max_length=77),
        text_encoder_2=T5EncoderModel(t5),
        tokenizer_2=T5TokenizerFast(vocab=pieces),
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    ).save_pretrained(folder)
    return folder
