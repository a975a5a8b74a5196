"""Strongholds: places beside the base directory that keep copies, and the registry `config/strongholds.json` of them.

A mounted place is known by a marker file in it, made when it was registered: without the marker nothing is written, so an
unmounted NAS is never mistaken for an empty one.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from realm.core import durable
from realm.core.errors import BadInput, Conflict, RealmError, Unavailable, unknown_name
from realm.core.hosts import Hosts
from realm.core.ids import check_id, new_ulid
from realm.core.paths import Paths, open_home

MARKER = ".realm-stronghold.json"
MARKER_FORMAT = "realm.stronghold/1"
ANSWER_S = 10.0
T = TypeVar("T")


class StrongholdType(StrEnum):
    """How a stronghold is reached: a folder, a mounted NAS, another zone's branch officer, a cloud or SFTP address."""

    LOCAL = "local"
    NAS = "nas"
    REMOTE = "remote"
    CLOUD = "cloud"


Keep = Literal["champion", "daily"]


class Stronghold(BaseModel):
    """One registered place: `path` of a folder or mount, `zone` of a remote one, `url` of a cloud one (no secrets in it).

    `keep` names the copies made by themselves: each new champion, the newest checkpoint and snapshot of a day.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    type: StrongholdType
    host: str | None = None
    path: str | None = None
    zone: str | None = None
    url: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+]*://([^\s@:/]+@)?[^\s@]+$")] | None = None
    marker: str | None = None
    keep: tuple[Keep, ...] = ()
    limit_mb_s: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Stronghold:
        needed = {"local": self.path, "nas": self.path, "remote": self.zone, "cloud": self.url}[self.type.value]
        if needed is None:
            field = {"local": "path", "nas": "path", "remote": "zone", "cloud": "url"}[self.type.value]
            raise ValueError(f"a {self.type} stronghold needs {field}")
        if self.path is not None and not os.path.isabs(self.path):
            raise ValueError(f"the path {self.path!r} is not absolute")
        return self


class Check(BaseModel):
    """What was found of a stronghold just now."""

    model_config = ConfigDict(frozen=True)
    name: str
    state: Literal["ready", "unmounted", "unmarked", "foreign", "read_only", "hanging", "down"]
    reason: str = ""
    free_bytes: int | None = None
    total_bytes: int | None = None

    @property
    def ready(self) -> bool:
        return self.state == "ready"


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do something that a dead mount can hold up for ever; raises Unavailable when it takes longer."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failed.append(error)

    # A daemon thread: a call that hangs in the kernel must not hold up the end of the process.
    thread = threading.Thread(target=run, name="mount", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise Unavailable(f"no answer within {seconds:.0f} s", hint="the mount hangs; look at the server behind it")
    return found[0]


def read_marker(root: Path) -> dict[str, Any] | None:
    """Return the marker of a folder, None when there is none; raises Conflict for one that cannot be read."""
    try:
        told = json.loads((root / MARKER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise Conflict(f"{root / MARKER} cannot be read", hint="it was damaged, or belongs to another program") from error
    if not isinstance(told, dict) or told.get("format") != MARKER_FORMAT or not isinstance(told.get("id"), str):
        raise Conflict(f"{root / MARKER} has another format than {MARKER_FORMAT}")
    return told


def is_mount(root: Path) -> bool:
    """Say whether a folder lies on another disk than the system's root: it, or a folder above it, is a mount point."""
    return any(os.path.ismount(one) for one in (root, *root.parents) if one != Path(one.anchor))


class StorageRegistry:
    """The strongholds of a base directory."""

    def __init__(self, base_dir: str | Path | Paths | None = None) -> None:
        self.paths = base_dir if isinstance(base_dir, Paths) else open_home(base_dir)

    @property
    def file(self) -> Path:
        return self.paths.user_config / "strongholds.json"

    def list_strongholds(self) -> list[Stronghold]:
        """Return the registered places in the order they were added; raises BadInput for a file that is not valid."""
        if not self.file.is_file():
            return []
        try:
            told = json.loads(self.file.read_text(encoding="utf-8"))["strongholds"]
            return [Stronghold(name=check_id(name), **fields) for name, fields in told.items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput(f"config/strongholds.json is not valid: {error}", hint="see ARCHITECTURE.md, Strongholds") from error

    def get(self, name: str) -> Stronghold:
        """Return a stronghold by name; raises Unknown."""
        found = {one.name: one for one in self.list_strongholds()}
        if check_id(name) not in found:
            raise unknown_name("stronghold", name, list(found))
        return found[name]

    def _save(self, all_of_them: list[Stronghold]) -> None:
        told = {one.name: one.model_dump(mode="json", exclude={"name"}, exclude_none=True) for one in all_of_them}
        durable.write_json(self.file, {"strongholds": told})

    def register_stronghold(
        self, name: str, stronghold_type: StrongholdType | str, host: str | None = None, *, path: str | Path | None = None,
        zone: str | None = None, url: str | None = None, keep: tuple[Keep, ...] = (), limit_mb_s: float | None = None,
        mark: bool = False,
    ) -> Stronghold:
        """Register a place, or change a registered one; a NAS without a path is looked for at `/mnt/NAME`.

        The marker is made in a local folder, and in a mount that is there; in a plain folder in a NAS's place only with
        `mark`. Raises BadInput, or Unknown for a zone that config/hosts.json does not name.
        """
        check_id(name)
        if stronghold_type not in list(StrongholdType):
            raise unknown_name("stronghold type", str(stronghold_type), [str(one) for one in StrongholdType])
        kind = StrongholdType(stronghold_type)
        if kind is StrongholdType.NAS and path is None:
            path = f"/mnt/{name}"
        if kind is StrongholdType.REMOTE:
            zone = zone or host or name
            Hosts.load(self.paths).get_zone(zone)
        try:
            made = Stronghold(
                name=name, type=kind, host=host, path=None if path is None else str(Path(path).expanduser()), zone=zone,
                url=url, keep=keep, limit_mb_s=limit_mb_s,
            )  # fmt: skip
        except ValidationError as error:
            raise BadInput(f"stronghold {name}: {error.errors()[0]['msg']}") from error
        self._refuse_inside(made)
        if made.path is not None:
            marker = within(ANSWER_S, lambda: self._marker_for(made, mark))
            made = made.model_copy(update={"marker": marker})
        others = [one for one in self.list_strongholds() if one.name != name]
        self._save([*others, made])
        return made

    def _refuse_inside(self, made: Stronghold) -> None:
        if made.path is not None:
            root, home = Path(made.path).resolve(), self.paths.home.resolve()
            if root == home or home in root.parents or root in home.parents:
                raise BadInput(f"{root} and the base directory lie in each other", hint="a copy needs a place of its own")

    def _marker_for(self, made: Stronghold, mark: bool) -> str | None:
        """Return the id in the place's marker, making one where that is safe; None: not there, or not marked."""
        root = Path(made.path or "")
        if made.type is StrongholdType.LOCAL:
            try:
                root.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"{root} cannot be made: {error.strerror}") from error
        if not root.is_dir():
            return None
        found = read_marker(root)
        if found is None and (mark or made.type is StrongholdType.LOCAL or is_mount(root)):
            found = {"format": MARKER_FORMAT, "id": new_ulid(), "name": made.name}
            try:
                durable.write_json(root / MARKER, found)
            except OSError as error:
                raise Unavailable(f"{root} cannot be written: {error.strerror}") from error
        return None if found is None else str(found["id"])

    def remove(self, name: str) -> Stronghold:
        """Forget a stronghold; its files and its marker stay where they are. Raises Unknown."""
        gone = self.get(name)
        self._save([one for one in self.list_strongholds() if one.name != name])
        return gone

    def mark(self, name: str) -> Stronghold:
        """Make the marker in a registered place that is a plain folder on purpose, or adopt the one there."""
        one = self.get(name)
        return self.register_stronghold(
            one.name, one.type, one.host, path=one.path, zone=one.zone, url=one.url, keep=one.keep,
            limit_mb_s=one.limit_mb_s, mark=True,
        )  # fmt: skip

    def check(self, name: str) -> Check:
        """Look at a stronghold now; an outage is part of the answer. Raises Unknown."""
        from realm.vault.zones.strongholds_depot import depot_of

        one = self.get(name)
        try:
            return within(ANSWER_S, lambda: depot_of(self.paths, one).check())
        except Unavailable as error:
            return Check(name=name, state="hanging" if one.path else "down", reason=error.message)
        except (RealmError, OSError) as error:
            return Check(name=name, state="down", reason=str(error))


def check_folder(one: Stronghold) -> Check:
    """Look at a folder or mount: its marker must be the registered one."""
    root = Path(one.path or "")
    if not root.is_dir():
        return Check(name=one.name, state="unmounted", reason=f"{root} is not there")
    try:
        found = read_marker(root)
    except Conflict as error:
        return Check(name=one.name, state="foreign", reason=error.message)
    if found is None:
        state: Literal["unmounted", "unmarked"] = "unmounted" if one.marker else "unmarked"
        why = "holds no marker: it is not mounted" if one.marker else "was not mounted when it was registered, and is not marked"
        return Check(name=one.name, state=state, reason=f"{root} {why}")
    if one.marker is None:
        return Check(name=one.name, state="unmarked", reason=f"{root} has a marker that is not registered: mark it")
    if found["id"] != one.marker:
        return Check(name=one.name, state="foreign", reason=f"{root} carries the marker of another stronghold")
    disk = shutil.disk_usage(root)
    if os.statvfs(root).f_flag & os.ST_RDONLY or not os.access(root, os.W_OK):
        return Check(name=one.name, state="read_only", reason=f"{root} cannot be written",
                     free_bytes=disk.free, total_bytes=disk.total)  # fmt: skip
    return Check(name=one.name, state="ready", free_bytes=disk.free, total_bytes=disk.total)
