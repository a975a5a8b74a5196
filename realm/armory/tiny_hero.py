"""Making of a small hero from nothing: a Qwen3-shaped model with seeded random weights and its own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from realm.armory.hero_presets import HeroPreset, MadeBase
from realm.armory.template import JINJA
from realm.armory.tokenizer import END_OF_TEXT, IM_END, train_tokenizer
from realm.core import durable
from realm.core.errors import BadInput


def qwen3_config(base: MadeBase, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the config.json of a Qwen3 causal LM (transformers' field names) for a made base."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": base.hidden,
        "intermediate_size": base.ffn,
        "num_hidden_layers": base.layers,
        "num_attention_heads": base.heads,
        "num_key_value_heads": base.kv_heads,
        "head_dim": base.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": base.max_positions,
        "rms_norm_eps": 1e-6,
        "rope_theta": base.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": base.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": base.tied,
        "use_cache": True,
        "dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(IM_END),
        "pad_token_id": tokenizer.token_to_id(END_OF_TEXT),
    }


def weight_shapes(base: MadeBase, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return name → shape of every weight of a Qwen3 causal LM, in transformers' names."""
    query, keys = base.heads * base.head_dim, base.kv_heads * base.head_dim
    layer = {
        "input_layernorm": (base.hidden,),
        "self_attn.q_proj": (query, base.hidden),
        "self_attn.k_proj": (keys, base.hidden),
        "self_attn.v_proj": (keys, base.hidden),
        "self_attn.o_proj": (base.hidden, query),
        "self_attn.q_norm": (base.head_dim,),
        "self_attn.k_norm": (base.head_dim,),
        "post_attention_layernorm": (base.hidden,),
        "mlp.gate_proj": (base.ffn, base.hidden),
        "mlp.up_proj": (base.ffn, base.hidden),
        "mlp.down_proj": (base.hidden, base.ffn),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, base.hidden)}
    for number in range(base.layers):
        shapes |= {f"model.layers.{number}.{name}.weight": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (base.hidden,)
    return shapes if base.tied else shapes | {"lm_head.weight": (vocabulary, base.hidden)}


def first_weights(base: MadeBase, vocabulary: int, seed: int) -> dict[str, torch.Tensor]:
    """Return seeded fp32 weights: norms 1, embeddings normal(embedding_std), matrices normal(init_std)."""
    source = torch.Generator().manual_seed(seed % 2**63)
    weights = {}
    for name, shape in weight_shapes(base, vocabulary).items():
        if len(shape) == 1:
            weights[name] = torch.ones(shape)
            continue
        std = base.embedding_std if "embed" in name or "lm_head" in name else base.init_std
        weights[name] = torch.randn(shape, generator=source) * std
    return weights


def make_tiny_hero(preset: HeroPreset, texts: Iterable[str], seed: int, out_dir: Path, names: Iterable[str] = ()) -> Path:
    """Write model.safetensors, config.json, tokenizer.json, tokenizer_config.json and generation_config.json.

    `texts` are samples of what the hero will read and write; they shape the tokenizer, in which each of `names` is one
    token. The same preset, texts, seed and names give the same bytes. The folder is created; raises BadInput for a preset
    whose base is not made here.
    """
    base, recipe = preset.base, preset.tokenizer
    if not isinstance(base, MadeBase) or recipe is None:
        raise BadInput(f"hero preset {preset.id} is loaded from weights, not made", hint="use a preset with base.make")
    tokenizer = train_tokenizer(texts, recipe.vocab_size, words=recipe.words, names=names)
    config = qwen3_config(base, tokenizer)
    out_dir.mkdir(parents=True, exist_ok=True)
    durable.write_bytes(
        out_dir / "model.safetensors", save(first_weights(base, config["vocab_size"], seed), {"format": "pt"})
    )
    write_hero_texts(out_dir, tokenizer, config)
    return out_dir


def write_hero_texts(folder: Path, tokenizer: Tokenizer, config: dict[str, Any]) -> None:
    """Write the text files that make a folder loadable by transformers."""
    names = {"eos_token": IM_END, "pad_token": END_OF_TEXT, "unk_token": None, "bos_token": None}
    durable.write_json(folder / "config.json", config)
    durable.write_text(folder / "tokenizer.json", tokenizer.to_str())
    durable.write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", **names, "chat_template": JINJA,
        "model_max_length": config["max_position_embeddings"], "clean_up_tokenization_spaces": False,
    })  # fmt: skip
    ids = {"eos_token_id": config["eos_token_id"], "pad_token_id": config["pad_token_id"], "do_sample": False}
    durable.write_text(folder / "generation_config.json", json.dumps(ids) + "\n")
