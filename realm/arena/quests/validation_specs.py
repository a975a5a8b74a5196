"""Dataset specs: which kinds of files are taken, as data in configs/specs/*.yaml; what no spec takes is refused.

A spec is chosen by the file's name, the one with the lowest order first, and then judges every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from realm.arena.quests.validation_error import RowError
from realm.armory.template import ROLES
from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir

VALIDATOR_NAME = "spec"
VALIDATOR_VERSION = "1"


class SpecError(RowError):
    """A file or row that no dataset spec takes."""

    code = "no_spec"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, validator=VALIDATOR_NAME, version=VALIDATOR_VERSION)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowKeys(_Part):
    """Keys that a table must and must not have."""

    required: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


class MessageSpec(_Part):
    """Roles that may speak, and keys no message may have."""

    roles: tuple[str, ...] = ROLES
    refused: tuple[str, ...] = ()


class DatasetSpec(_Part):
    """One kind of file that is taken."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,63}$")
    title: str
    order: int = Field(default=50, ge=0)
    files: tuple[str, ...] = Field(min_length=1)
    rows: RowKeys = RowKeys(required=("messages",))
    messages: MessageSpec = MessageSpec()
    metadata: RowKeys = RowKeys()

    def takes(self, name: str) -> bool:
        """Say whether a file of this name is of this kind."""
        return any(fnmatchcase(name, pattern) for pattern in self.files)

    def check(self, row: Mapping[str, Any], number: int) -> None:
        """Raise SpecError naming the first key of a row that this kind of file may not or must have."""
        self._keys(row, self.rows, f"row {number}")
        meta = row.get("metadata")
        self._keys(meta if isinstance(meta, dict) else {}, self.metadata, f"row {number}: its metadata")
        messages = row.get("messages")
        for place, message in enumerate(messages if isinstance(messages, list) else (), 1):
            if isinstance(message, dict):
                self._message(message, f"row {number}: message {place}")

    def _keys(self, table: Mapping[str, Any], keys: RowKeys, where: str) -> None:
        for key in keys.required:
            if key not in table:
                raise SpecError(f"{where} has no {key}, which {self.title} need", hint=f"spec {self.id}")
        self._refuse(table, keys.refused, where)

    def _message(self, message: Mapping[str, Any], where: str) -> None:
        self._refuse(message, self.messages.refused, where)
        role = message.get("role")
        if isinstance(role, str) and role in ROLES and role not in self.messages.roles:
            raise SpecError(f"{where} has the role {role!r}, which {self.title} do not have", hint=f"spec {self.id}")

    def _refuse(self, table: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
        for key in keys:
            if table.get(key) is not None:
                raise SpecError(f"{where} has {key!r}, which would not be trained as it says", hint=f"spec {self.id}")


def read_spec(path: Path) -> DatasetSpec:
    """Read one spec; raises BadInput naming the file and every wrong or unknown key."""
    try:
        spec = DatasetSpec.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"specs/{path.name} is not YAML: {error}") from error
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'spec'}: {e['msg']}" for e in error.errors())
        raise BadInput(f"specs/{path.name} is not valid: {found}", hint="configs/specs/_template.yaml shows the keys") from error
    if spec.id != path.stem:
        raise BadInput(f"specs/{path.name} has the id {spec.id!r}", hint="file and id have the same name")
    return spec


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.yaml") if not p.name.startswith("_")) if folder.is_dir() else []


@lru_cache(maxsize=8)
def _registry(files: tuple[tuple[Path, int], ...]) -> tuple[DatasetSpec, ...]:
    found = {spec.id: spec for spec in (read_spec(path) for path, _ in files)}
    return tuple(sorted(found.values(), key=lambda spec: (spec.order, spec.id)))


def list_specs(paths: Paths | None = None) -> tuple[DatasetSpec, ...]:
    """Return the specs by order: shipped ones, and the player's, which take the place of a shipped one of the same id."""
    files = _files(shipped_dir("configs/specs")) + (_files(paths.user_specs) if paths else [])
    return _registry(tuple((path, path.stat().st_mtime_ns) for path in files))


def spec_for(name: str, specs: Iterable[DatasetSpec]) -> DatasetSpec:
    """Return the spec that takes a file of this name; raises SpecError when none does."""
    known = tuple(specs)
    for spec in known:
        if spec.takes(name):
            return spec
    taken = ", ".join(pattern for spec in known for pattern in spec.files) or "nothing"
    raise SpecError(f"no dataset spec takes a file named {name[:100]!r}", hint=f"taken: {taken}")
