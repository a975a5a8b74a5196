"""An exported hero answers in the other program as it does here, or the export says what differs."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

from realm.armory.template import JINJA
from realm.core import events, manifest
from realm.core.errors import BadInput, Conflict, Corrupt, Unavailable
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.gate import leaving
from realm.vault import ledger
from realm.vault.keeping import gguf_export
from realm.vault.keeping.export_folder import write_folder
from realm.vault.keeping.gguf_tokens import PRE, cut_otherwise, tokens_of

NAME = "checkpoint-7-20260101-0000"


@pytest.fixture
def saved(home: Paths) -> Path:
    """A checkpoint of step 7 whose weights are the base hero's."""
    [base] = [folder for folder in home.models.iterdir() if (folder / "hero.json").is_file()]
    folder = home.current_model / NAME
    shutil.copytree(base, folder)
    (folder / manifest.NAME).unlink()
    weights = manifest.read_manifest(base)["weights_sha256"]
    record = ledger.Record(
        canonical_name=NAME, step=7, timestamp="2026-01-01T00:00:00.000Z", hero="dio", train_loss=1.0, val_loss=None,
        learning_rate=0.1, epoch=1.0, skill_name=None, skill_level=None, training_file=None, parent=None, generation=1,
        weights_sha256=weights, template_hash=json.loads((base / "hero.json").read_text())["template_hash"], tokens=1,
        trained_tokens=1, seconds=1.0, quests=[],
    )  # fmt: skip
    (folder / ledger.SIDECAR).write_text(record.model_dump_json())
    manifest.write_manifest(folder, 7, NAME)
    with closing(open_facts(home)) as facts:
        ledger.adopt(home, facts)
    return folder


def test_a_folder_is_whole_or_not_there(saved: Path, tmp_path: Path) -> None:
    out = write_folder(saved, tmp_path / "out", 7)
    assert manifest.verify(out)["weights_sha256"] == manifest.read_manifest(saved)["weights_sha256"]
    with pytest.raises(Conflict):
        write_folder(saved, out, 7)
    data = bytearray((saved / manifest.WEIGHTS).read_bytes())
    data[-1] ^= 1
    (saved / manifest.WEIGHTS).write_bytes(data)
    with pytest.raises(Corrupt, match=manifest.WEIGHTS):
        write_folder(saved, tmp_path / "other", 7)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "other"))] == []


def test_gguf_holds_every_tensor_and_the_template(saved: Path, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    target = tmp_path / "hero.gguf"
    written = gguf_export.write_gguf(saved, target, "DIO", JINJA)
    read = gguf.GGUFReader(target)
    config = json.loads((saved / "config.json").read_text())
    assert len(read.tensors) == written.tensors == 2 + 11 * config["num_hidden_layers"]
    assert read.get_field("tokenizer.chat_template").contents() == JINJA
    assert read.get_field("qwen3.attention.key_length").contents() == config["head_dim"]
    vocabulary = json.loads((saved / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = read.get_field("tokenizer.ggml.tokens").contents()
    assert {token: tokens.index(token) for token in vocabulary} == vocabulary
    assert tokens[read.get_field("tokenizer.ggml.eos_token_id").contents()] == "<|im_end|>"

    data = bytearray(target.read_bytes())
    data[-7] ^= 1
    target.write_bytes(data)
    with pytest.raises(Corrupt, match="is not the checkpoint's"):
        gguf_export.compare(saved, target)


def test_only_qwen3_becomes_gguf(saved: Path, tmp_path: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
    manifest.write_manifest(saved, 7, NAME)
    with pytest.raises(BadInput, match="llama"):
        gguf_export.write_gguf(saved, tmp_path / "x.gguf", "x", JINJA)


def byte_level(pattern: str, ignore_merges: bool) -> Tokenizer:
    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocabulary["12"] = len(vocabulary)
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[("1", "2")], ignore_merges=ignore_merges))
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    return made


def test_a_known_pre_tokeniser_is_named_and_another_is_told() -> None:
    texts = ["add(12, 3)", "a b"]
    for name, (pattern, ignore) in PRE.items():
        told = byte_level(pattern, ignore).to_str().encode()
        found = tokens_of(told, 300)
        assert (found.pre, found.exact) == (name, True)
        assert cut_otherwise(told, name, texts) == 0
        assert found.tokens[257:] == ["<|im_end|>", *(f"[PAD{i}]" for i in range(258, 300))]
        assert found.types[256:259] == [1, 3, 5]
        assert found.merges == ["1 2"]
    own = byte_level(r"\p{N}+|\P{N}+", False).to_str().encode()
    assert not tokens_of(own, 0).exact
    assert cut_otherwise(own, "qwen2", texts) == 1, "12 is one piece here and two there"


def go_template(text: str, messages: list[dict[str, str]]) -> str:
    """Render the part of Go's text/template that the Modelfile uses."""
    body = re.search(r"\{\{ range \.Messages \}\}(.*?)\{\{ end \}\}", text, re.S)
    assert body
    turns = "".join(body[1].replace("{{ .Role }}", m["role"]).replace("{{ .Content }}", m["content"]) for m in messages)
    return text[: body.start()] + turns + text[body.end() :]


def test_the_modelfile_renders_as_the_template() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    file = gguf_export.modelfile("x.gguf", 1024, "Be kind.")
    found = re.search(r'TEMPLATE """(.*?)"""', file, re.S)
    assert found
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "1 + 1\n?"}]
    ours = ImmutableSandboxedEnvironment().from_string(JINJA).render(messages=messages, add_generation_prompt=True)
    assert go_template(found[1], messages) == ours
    assert 'SYSTEM """Be kind."""' in file
    assert file.startswith("FROM ./x.gguf\n")


@pytest.mark.slow
@pytest.mark.parametrize("form", leaving.FORMATS)
def test_the_export_answers_as_the_checkpoint(
    saved: Path, home: Paths, tmp_path: Path, form: leaving.Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    left = leaving.leave(home, "7", form, out)
    assert (left.proof.equal, left.proof.asked) == (20, 20)
    report = json.loads((out / leaving.REPORT).read_text())
    assert report["proof"]["by"].startswith(("transformers", "llama.cpp"))
    assert set(report["files"]) == {path.name for path in out.iterdir()} - {leaving.REPORT}
    with closing(read_facts(home)) as facts:
        assert events.latest(facts, 1, "hero.exported")[0]["step"] == 7
    with pytest.raises(Conflict):
        leaving.leave(home, "7", form, out)
    if form != "hf":
        assert any("pre-tokeniser" in line for line in left.differs)
        monkeypatch.setitem(__import__("sys").modules, "gguf", None)
        with pytest.raises(Unavailable, match="library"):
            leaving.leave(home, "7", form, tmp_path / "other")
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "other"))] == []


@pytest.mark.slow
def test_an_export_with_other_weights_is_no_proof(saved: Path, home: Paths, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    from realm.oracle.checkpoints import find_source, read_verified
    from realm.oracle.proof import by_transformers, prove

    out = write_folder(saved, tmp_path / "out", 7)
    weights = {name: -value for name, value in load_file(out / manifest.WEIGHTS).items()}
    (out / manifest.WEIGHTS).unlink()
    save_file(weights, out / manifest.WEIGHTS, {"format": "pt"})
    found = prove(read_verified(find_source(home, 7)), leaving.prompts(), "transformers", by_transformers(out))
    assert not found.holds
    assert found.differ
