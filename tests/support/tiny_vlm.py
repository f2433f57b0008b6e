# SPDX-License-Identifier: Apache-2.0
"""A vision model of random weights that llama.cpp loads: it answers noise, over a real protocol.

Two files, a megabyte together: ``model.gguf``, a two-layer Llama with a byte-level vocabulary,
and ``mmproj.gguf``, a CLIP tower with LLaVA's two-layer projector.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]

CONTEXT = 4096
_WIDTH, _INNER, _LAYERS, _HEADS = 64, 128, 2, 2
_IMAGE, _PATCH = 56, 14
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>")
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else -%}
{%- for part in message['content'] -%}
{%- if part['type'] in ('text', 'media_marker') %}{{ part['text'] }}{% endif -%}
{%- endfor -%}{%- endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}"""


class _Weights:
    """Random tensors, the same ones at every call."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def noise(self, *shape: int, scale: float = 0.15) -> Array:
        return (self._rng.standard_normal(shape) * scale).astype(np.float32)


def write_tiny_vlm(folder: Path) -> None:
    """Write ``model.gguf`` and ``mmproj.gguf``."""
    weights = _Weights()
    _write_language_model(folder / "model.gguf", weights)
    _write_projector(folder / "mmproj.gguf", weights)


def _write_language_model(path: Path, weights: _Weights) -> None:
    tokens = [*_SPECIAL, *_byte_alphabet(), "Ġt"]
    kinds = [gguf.TokenType.CONTROL] * len(_SPECIAL)
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - len(_SPECIAL))
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny-vlm")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_INNER)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ġ t"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(_CHAT_TEMPLATE)
    tensors = {
        # Far apart, so that the noise differs from prompt to prompt.
        "token_embd": weights.noise(len(tokens), _WIDTH, scale=1.0),
        "output": weights.noise(len(tokens), _WIDTH, scale=0.3),
        "output_norm": np.ones(_WIDTH, np.float32),
    }
    for layer in range(_LAYERS):
        block = {
            "attn_norm": np.ones(_WIDTH, np.float32),
            "ffn_norm": np.ones(_WIDTH, np.float32),
            **{f"attn_{name}": weights.noise(_WIDTH, _WIDTH) for name in ("q", "k", "v", "output")},
            "ffn_gate": weights.noise(_INNER, _WIDTH),
            "ffn_up": weights.noise(_INNER, _WIDTH),
            "ffn_down": weights.noise(_WIDTH, _INNER),
        }
        tensors |= {f"blk.{layer}.{name}": tensor for name, tensor in block.items()}
    _finish(writer, {f"{name}.weight": tensor for name, tensor in tensors.items()})


def _write_projector(path: Path, weights: _Weights) -> None:
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    writer.add_vision_image_size(_IMAGE)
    writer.add_vision_patch_size(_PATCH)
    writer.add_vision_embedding_length(_WIDTH)
    writer.add_vision_feed_forward_length(_INNER)
    writer.add_vision_block_count(_LAYERS)
    writer.add_vision_head_count(_HEADS)
    writer.add_vision_projection_dim(_WIDTH)
    writer.add_vision_attention_layernorm_eps(1e-5)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.25, 0.25, 0.25])
    tensors = {
        "v.class_embd": weights.noise(_WIDTH),
        "v.patch_embd.weight": weights.noise(_WIDTH, 3, _PATCH, _PATCH),
        "v.position_embd.weight": weights.noise((_IMAGE // _PATCH) ** 2 + 1, _WIDTH),
        **_norm("v.pre_ln"),
        **_norm("v.post_ln"),
        **_linear("mm.0", weights.noise(_WIDTH, _WIDTH)),
        # Strong, so that the picture changes the answer.
        **_linear("mm.2", weights.noise(_WIDTH, _WIDTH, scale=0.5)),
    }
    for layer in range(_LAYERS):
        block = f"v.blk.{layer}"
        for name in ("q", "k", "v", "out"):
            tensors |= _linear(f"{block}.attn_{name}", weights.noise(_WIDTH, _WIDTH))
        tensors |= _norm(f"{block}.ln1") | _norm(f"{block}.ln2")
        tensors |= _linear(f"{block}.ffn_up", weights.noise(_INNER, _WIDTH))
        tensors |= _linear(f"{block}.ffn_down", weights.noise(_WIDTH, _INNER))
    _finish(writer, tensors)


def _linear(name: str, weight: Array) -> dict[str, Array]:
    return {f"{name}.weight": weight, f"{name}.bias": np.zeros(len(weight), np.float32)}


def _norm(name: str) -> dict[str, Array]:
    return {
        f"{name}.weight": np.ones(_WIDTH, np.float32),
        f"{name}.bias": np.zeros(_WIDTH, np.float32),
    }


def _finish(writer: gguf.GGUFWriter, tensors: dict[str, Array]) -> None:
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _byte_alphabet() -> list[str]:
    """GPT-2's visible character for each byte: itself, or one above 255 where it shows nothing."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]
