"""Leaving the realm: a checkpoint written in the format of another program, with a proof that it answers there as here."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from realm.armory.template import JINJA
from realm.core import durable, events
from realm.core.clock import SYSTEM, stamp
from realm.core.errors import Conflict, Unavailable
from realm.core.ids import sha256_file
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts, transaction
from realm.vault import ledger
from realm.vault.ancestry import find_checkpoint
from realm.vault.keeping import gguf_export
from realm.vault.keeping.care import present_row
from realm.vault.keeping.export_folder import write_folder
from realm.vault.keeping.gguf_tokens import cut_otherwise

if TYPE_CHECKING:
    from realm.oracle.checkpoints import Verified
    from realm.oracle.proof import Proof

Format = Literal["hf", "gguf", "ollama"]
FORMATS: tuple[Format, ...] = ("hf", "gguf", "ollama")
PROMPTS = 20
REPORT = "export.json"


@dataclass(frozen=True)
class Left:
    """What was written where, the proof that was made of it, and in words what is different there."""

    checkpoint: str
    format: str
    out: str
    proof: Proof
    differs: list[str]

    @property
    def text(self) -> str:
        proof = f"{self.proof.equal} of {self.proof.asked} greedy answers equal, read by {self.proof.by}"
        return "\n".join([f"{self.checkpoint} as {self.format} in {self.out}: {proof}", *self.differs])


def prompts() -> list[str]:
    """Return the prompts of the proof: BIN problems of four levels that are not trained on."""
    from realm.guild.skills.server import builtin_skill

    skill = builtin_skill("bin")
    return [item.user_prompt for level in range(1, 5) for item in skill.generate(level, PROMPTS // 4, level, "eval")]


def leave(paths: Paths, asked: str, form: Format, out: Path) -> Left:
    """Write a checkpoint (name or step) to the new folder `out`; it appears whole, with its report, or not at all.

    Raises Conflict when `out` exists, Unknown, BadInput, Corrupt, NoSpace, Unavailable without the library of the format.
    """
    from realm.oracle.checkpoints import find_source, read_verified

    with closing(read_facts(paths)) as facts:
        row = present_row(facts, find_checkpoint(facts, asked))
    if out.exists():
        raise Conflict(f"{out} exists already", hint="give a new folder with --out")
    read = read_verified(find_source(paths, row["step"]))
    making = durable.new_dir(out.resolve().parent, out.name)
    try:
        place = making / out.name if form == "hf" else making
        proof, differs = _WRITERS[form](read, place)
        left = Left(row["name"], form, str(out), proof, differs + _unequal(proof))
        _report(place, read, left)
        durable.commit_dir(place, out)
    finally:
        if making.exists():
            durable.remove_tree(making)
    with closing(open_facts(paths)) as facts, transaction(facts):
        data = {"name": row["name"], "format": form, "out": str(out), "proof": asdict(proof), "differs": left.differs}
        events.append(facts, "hero.exported", subject=row["name"], step=row["step"], data=data)
    return left


def _unequal(proof: Proof) -> list[str]:
    if proof.holds:
        return []
    return [f"answers differ on prompts {', '.join(map(str, proof.differ))} of {proof.asked}"]


def _report(folder: Path, read: Verified, left: Left) -> None:
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(folder.iterdir())}
    told = {"format": "realm.export/1", "at": stamp(SYSTEM.now()), "checkpoint": left.checkpoint, "target": left.format,
            "weights_sha256": read.weights_sha256, "proof": asdict(left.proof), "differs": left.differs,
            "files": files}  # fmt: skip
    durable.write_json(folder / REPORT, told)


def _write_hf(read: Verified, target: Path) -> tuple[Proof, list[str]]:
    from realm.oracle.proof import by_transformers, prove

    write_folder(read.source.folder, target, ledger.extract_step(read.source.folder.name))
    return prove(read, prompts(), "transformers", by_transformers(target)), _profile(read)


def _write_gguf(read: Verified, folder: Path) -> tuple[Proof, list[str]]:
    name = f"{read.hero.get('id') or 'hero'}-{read.source.step}.gguf"
    written = gguf_export.write_gguf(read.source.folder, folder / name, str(read.hero.get("name") or "hero"), JINJA)
    asked = prompts()
    differs = _profile(read)
    if not written.tokens.exact:
        other = cut_otherwise(read.tokenizer, written.tokens.pre, asked)
        differs.append(f"llama.cpp has no pre-tokeniser like this hero's and takes {written.tokens.pre}: it cuts "
                       f"{other} of {len(asked)} prompts into other tokens; given our tokens it answers as proved")  # fmt: skip
    return _prove_gguf(read, folder, name, asked), differs


def _prove_gguf(read: Verified, folder: Path, name: str, asked: list[str]) -> Proof:
    from realm.oracle.proof import by_llama_cpp, by_transformers, prove

    try:
        return prove(read, asked, "llama.cpp", by_llama_cpp(folder / name))
    except Unavailable:
        theirs = by_transformers(folder, name, read.source.folder)
        return prove(read, asked, "transformers, with the shape from config.json", theirs)


def _write_ollama(read: Verified, folder: Path) -> tuple[Proof, list[str]]:
    proof, differs = _write_gguf(read, folder)
    [file] = folder.glob("*.gguf")
    mantra = read.hero.get("mantra")
    text = gguf_export.modelfile(file.name, read.config["max_position_embeddings"], str(mantra) if mantra else None)
    durable.write_text(folder / "Modelfile", text)
    return proof, differs


def _profile(read: Verified) -> list[str]:
    if read.profile == "none":
        return []
    return [f"the penalties and the system prompt of profile {read.profile} are not part of the format"]


_WRITERS = {"hf": _write_hf, "gguf": _write_gguf, "ollama": _write_ollama}
