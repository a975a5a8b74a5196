"""What the vault keeps: assets with an id, a digest over their files, and the rules by which ids are made from names.

An id is the type and the name, so the same asset has the same id in every zone. Its digest is the SHA-256 of the sorted
lines "<sha256>  <relative path>\\n" of its files. Folders: checkpoint, model, snapshot, backup; a file with what belongs
to it beside it: data, config.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from realm.core.errors import BadInput, unknown_name
from realm.core.ids import check_id

AssetType = Literal["checkpoint", "model", "data", "config", "snapshot", "backup"]
TYPES: tuple[AssetType, ...] = get_args(AssetType)
FILE_TYPES: frozenset[AssetType] = frozenset({"data", "config"})
# What may change under one id; of everything else an id stands for the same bytes for ever.
MUTABLE: frozenset[AssetType] = frozenset({"config"})
ID_LENGTH = 128
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_CHECKPOINT = re.compile(r"checkpoint-(0|[1-9][0-9]{0,17})(?:-[0-9]{8}-[0-9]{4})?\Z")
_PLAIN = re.compile(r"[A-Za-z0-9._ -]*\Z")


class AssetFile(BaseModel):
    """One file of an asset: `path` is relative with forward slashes, `size` in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: str = Field(min_length=1, max_length=1024)
    size: int = Field(ge=0)
    sha256: str

    @field_validator("path")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = path.split("/")
        if "\0" in path or "\n" in path or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"not a path inside an asset: {path[:80]!r}")
        return path

    @field_validator("sha256")
    @classmethod
    def _hex(cls, digest: str) -> str:
        if not _SHA256.match(digest):
            raise ValueError("a SHA-256 has 64 lower-case hexadecimal digits")
        return digest


def digest_of(files: Iterable[AssetFile]) -> str:
    """Return the digest of an asset: SHA-256 over the sorted lines "<sha256>  <relative path>\\n". Pure."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class AssetManifest(BaseModel):
    """Every file of an asset; what a copy is verified against. A digest that is not the files' own is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    type: AssetType
    name: str = Field(min_length=1, max_length=255)
    digest: str
    files: tuple[AssetFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> AssetManifest:
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("a file is named twice")
        if self.digest != digest_of(self.files):
            raise ValueError("the digest is not that of the files")
        if asset_id(self.type, self.name) != self.id:
            raise ValueError(f"the id of {self.type} {self.name} is {asset_id(self.type, self.name)}, not {self.id}")
        if self.type in FILE_TYPES and PurePosixPath(self.name).name not in paths:
            raise ValueError(f"{self.type} {self.name} does not hold the file it is named after")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> AssetFile:
        """Return one file by its path; raises Unknown listing what there is."""
        for file in self.files:
            if file.path == path:
                return file
        raise unknown_name(f"file of {self.id}", path, [file.path for file in self.files])


class Asset(BaseModel):
    """An entry of the catalogue; `size` in bytes, `created_at` a UTC stamp taken from the asset itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str
    type: AssetType
    name: str
    size: int
    file_count: int
    digest: str
    created_at: str
    meta: dict[str, Any] = {}


def make_manifest(kind: AssetType, name: str, files: Iterable[AssetFile]) -> AssetManifest:
    """Build the manifest of an asset from its type, name and files; raises BadInput when they do not make one."""
    found = tuple(sorted(files, key=lambda file: file.path))
    try:
        return AssetManifest(id=asset_id(kind, name), type=kind, name=name, digest=digest_of(found), files=found)
    except ValueError as error:
        raise BadInput(f"{kind} {name} is not an asset: {error}") from error


def check_type(text: str) -> AssetType:
    """Return `text` as an asset type; raises Unknown listing the types."""
    for kind in TYPES:
        if text == kind:
            return kind
    raise unknown_name("asset type", text, list(TYPES))


def check_asset_id(text: str) -> str:
    """Return `text` when it is an asset's id; raises BadInput for a path, Unknown for another type."""
    check_type(check_id(text).split("_", 1)[0])
    return text


def asset_id(kind: AssetType, name: str) -> str:
    """Return the id of an asset: `checkpoint_175000`, `model_qwen3_0.6b`, `data_train_syllo_abc`, `config_config`. Pure.

    A checkpoint's name is `checkpoint-{step}` or the canonical one; a file type's name loses its extension; a folder of
    the name becomes part of the id. A name that cannot be spelled in an id gets eight digits of its own SHA-256.
    """
    if kind == "checkpoint":
        step = _CHECKPOINT.match(name)
        if not step:
            raise BadInput(f"{name!r} is not a checkpoint name", hint="checkpoint-{step}-{YYYYMMDD}-{HHMM}")
        return f"checkpoint_{step[1]}"
    bare = str(PurePosixPath(name).with_suffix("")) if kind in FILE_TYPES else name
    spelled, room = re.sub(r"[^a-z0-9._]+", "_", bare.lower()).strip("_"), ID_LENGTH - len(kind) - 1
    if not spelled or not _PLAIN.match(bare.replace("/", "_")) or len(spelled) > room:
        mark = hashlib.sha256(bare.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        spelled = f"{spelled[: room - 9].rstrip('_')}-{mark}".lstrip("-")
    return f"{kind}_{spelled}"


def file_place(kind: AssetType, path: str, file: str) -> str:
    """Return where a file of an asset lies, relative to the root its location is in. Pure.

    `path` is a location's path: of a folder the folder, of a data or config file the file itself.
    """
    folder = PurePosixPath(path).parent if kind in FILE_TYPES else PurePosixPath(path)
    return str(folder / file)
