"""Full-size transformers' configurations, to build them without weights: for tests and benchmarks.

As published with the models (the `config.json` of each transformer in diffusers' layout); what a
preset's own checkpoint says always wins when one is loaded.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

#: As diffusers' conversion script writes them for LTX-2.3; the rest are the class's defaults.
_LTX_2_3: Mapping[str, Any] = {
    "gated_attn": True,
    "cross_attn_mod": True,
    "audio_gated_attn": True,
    "audio_cross_attn_mod": True,
    "rope_type": "split",
    "use_prompt_embeddings": False,
    "perturbed_attn": True,
}
_WAN: Mapping[str, Any] = {"patch_size": (1, 2, 2), "attention_head_dim": 128, "text_dim": 4096}

TRANSFORMERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "wan2.2-5b": {
            **_WAN,
            "num_attention_heads": 24,
            "num_layers": 30,
            "ffn_dim": 14336,
            "in_channels": 48,
            "out_channels": 48,
        },
        "wan2.1-1.3b": {**_WAN, "num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960},
        "wan2.1-14b": {**_WAN, "num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824},
        "ltx-2.3": _LTX_2_3,
        "wan2.2-a14b": {**_WAN, "num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824},
    }
)
