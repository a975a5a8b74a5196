"""A checkpoint as one GGUF file for llama.cpp and Ollama: Qwen3 tensors as they are, tokenizer, chat template.

Sources: ggml/docs/gguf.md, gguf-py (the writer), convert_hf_to_gguf.py (names of keys). Weights keep their type; vectors are
written in fp32, which llama.cpp asks for and which holds every bf16 and fp16 exactly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, deserialize

from realm.core import manifest
from realm.core.errors import BadInput, Corrupt, Unavailable
from realm.vault.keeping.gguf_tokens import Tokens, tokens_of

ARCHITECTURE = "qwen3"


@dataclass(frozen=True)
class Written:
    """What is in a GGUF file: number of tensors, and the tokenizer as it was told."""

    tensors: int
    tokens: Tokens


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise Unavailable("GGUF needs a library that is not installed", hint="pip install 'realm-of-training[gguf]'") from error
    return gguf


def write_gguf(source: Path, target: Path, name: str, chat_template: str) -> Written:
    """Write a verified checkpoint folder as a GGUF file, then read it back and compare every tensor bit by bit.

    Raises BadInput for a model that is no Qwen3, Unavailable without the library, Corrupt when what was written differs.
    """
    gguf = _library()
    manifest.verify(source)
    config = json.loads((source / "config.json").read_bytes())
    if config.get("model_type") != ARCHITECTURE:
        raise BadInput(f"{source.name} is a {config.get('model_type')} model; GGUF is written for qwen3", hint="export as hf")
    tokens = tokens_of((source / "tokenizer.json").read_bytes(), config["vocab_size"])
    writer = gguf.GGUFWriter(target, ARCHITECTURE)
    _tell(writer, config, tokens, name, chat_template)
    count = 0
    for named, data, raw_type in _tensors(gguf, source, config):
        writer.add_tensor(named, data, raw_dtype=raw_type)
        count += 1
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    compare(source, target)
    return Written(count, tokens)


def _tell(writer: Any, config: dict[str, Any], tokens: Tokens, name: str, chat_template: str) -> None:
    writer.add_name(name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float((config.get("rope_parameters") or config)["rope_theta"]))
    writer.add_vocab_size(len(tokens.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokens.pre)
    writer.add_token_list(tokens.tokens)
    writer.add_token_types(tokens.types)
    writer.add_token_merges(tokens.merges)
    writer.add_eos_token_id(config["eos_token_id"])
    if config.get("pad_token_id") is not None:
        writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template)


def _tensors(gguf: Any, source: Path, config: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (GGUF name, array, raw type or None) of every tensor."""
    import numpy as np

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, config["num_hidden_layers"])
    kinds = {"F32": (np.float32, None), "F16": (np.float16, None), "BF16": (np.uint16, gguf.GGMLQuantizationType.BF16)}
    try:
        found: list[tuple[str, dict[str, Any]]] = deserialize((source / manifest.WEIGHTS).read_bytes())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise Corrupt(f"{source.name}/{manifest.WEIGHTS} cannot be read: {error}") from error
    for name, entry in found:
        if config.get("tie_word_embeddings") and name == "lm_head.weight":
            continue
        target, kind = names.get_name(name, try_suffixes=(".weight",)), kinds.get(entry["dtype"])
        if target is None or kind is None:
            raise BadInput(f"tensor {name} of type {entry['dtype']} has no place in GGUF", hint="export as hf")
        data = np.frombuffer(entry["data"], dtype=kind[0]).reshape(entry["shape"])
        if len(entry["shape"]) == 1:
            yield target, _single(np, data, entry["dtype"]), None
        else:
            yield target, data.view(np.uint8) if kind[1] is not None else data, kind[1]


def _single(np: Any, data: Any, kind: str) -> Any:
    """Return a vector in fp32, exactly."""
    return (data.astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else data.astype(np.float32)


def compare(source: Path, target: Path) -> int:
    """Read a GGUF file back and compare every tensor with the checkpoint's, bit by bit; returns how many are equal."""
    gguf = _library()
    config = json.loads((source / "config.json").read_bytes())
    read = {tensor.name: tensor for tensor in gguf.GGUFReader(target).tensors}
    count = 0
    for name, data, _ in _tensors(gguf, source, config):
        found = read.pop(name, None)
        if found is None or found.data.tobytes() != data.tobytes():
            raise Corrupt(f"{target.name}: tensor {name} is not the checkpoint's", hint="export again")
        count += 1
    if read:
        raise Corrupt(f"{target.name} holds tensors that the checkpoint does not: {', '.join(sorted(read)[:5])}")
    return count


def modelfile(file: str, context: int, mantra: str | None) -> str:
    """Return an Ollama Modelfile whose template renders messages as the hero's own template does."""
    frame = "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}<|im_start|>assistant\n"
    lines = [f"FROM ./{file}", f'TEMPLATE """{frame}"""', 'PARAMETER stop "<|im_end|>"', "PARAMETER temperature 0",
             f"PARAMETER num_ctx {context}"]  # fmt: skip
    if mantra:
        lines.append(f'SYSTEM """{mantra}"""')
    return "\n".join(lines) + "\n"
