"""HTTP routes of backups and of the chronicle, below `/api/vault`; `gate` says how a backup is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from realm.core.errors import RealmError
from realm.core.ids import check_id
from realm.core.paths import Paths
from realm.core.store import open_facts, read_facts
from realm.core.web import NothingBody
from realm.vault.keeping import archivist, chronicle, model_trash
from realm.vault.keeping.archivist import Backup

Name = Annotated[str, Path(min_length=1, max_length=128)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class BackupBody(_Body):
    why: str = Field(default="by the player", max_length=200)


class EntryBody(_Body):
    """`checkpoint` is a name or a step."""

    name: str = Field(max_length=128)
    checkpoint: str = Field(max_length=128)
    why: str = Field(default="by the player", max_length=400)
    notes: str = Field(default="", max_length=4000)


class ModelBody(_Body):
    """`confirm` is the name as the player typed it; `current_model` allows the deletion of the hero in force."""

    confirm: str = Field(max_length=128)
    current_model: bool = False


def shown(backup: Backup) -> dict[str, Any]:
    """Return what a list shows of a backup."""
    return {"name": backup.name, "at": backup.at, "why": backup.why, "size": backup.size, "files": len(backup.files),
            "holds": backup.holds}  # fmt: skip


def list_shown(paths: Paths) -> list[dict[str, Any]]:
    """Return every backup, the newest first, damaged ones with the reason."""
    return [{"damage": one.message} if isinstance(one, RealmError) else shown(one) for one in archivist.list_backups(paths)]


def keeping_router(
    paths: Paths, back_up: Callable[[str], Backup], hero: Callable[[], FilePath | None] = lambda: None
) -> APIRouter:
    """Return the routes of backups, chronicle and models; `hero` says which folder is the base of the hero in force."""
    router = APIRouter(prefix="/api/vault", tags=["keeping"])
    _add_backups(router, paths, back_up)
    _add_chronicle(router, paths)
    _add_models(router, paths, back_up, hero)
    return router


def _add_models(
    router: APIRouter, paths: Paths, back_up: Callable[[str], Backup], hero: Callable[[], FilePath | None]
) -> None:
    @router.get("/models")
    def models() -> dict[str, Any]:
        """List the folders below models/, which of them is the hero in force, and the deleted ones."""
        now = hero()
        rows = [{"name": name, "current": now is not None and now.name == name} for name in model_trash.names(paths)]
        return {"rows": rows, "trash": [asdict(one) for one in model_trash.in_trash(paths)]}

    @router.post("/models/{name}/delete")
    def delete(name: Name, body: ModelBody) -> dict[str, Any]:
        """Move a model to the trash for a week; the hero in force only with `current_model`, after a proved backup."""
        return asdict(model_trash.delete(
            paths, hero(), check_id(name), body.confirm, current_model=body.current_model, back_up=back_up
        ))  # fmt: skip

    @router.post("/models/{name}/undelete")
    def undelete(name: Name, _: NothingBody) -> dict[str, Any]:
        """Bring a deleted model back."""
        return {"name": model_trash.undelete(paths, check_id(name)).name}


def _add_backups(router: APIRouter, paths: Paths, back_up: Callable[[str], Backup]) -> None:
    @router.get("/backups")
    def backups() -> dict[str, Any]:
        """List backups, the newest first; a damaged one with the reason."""
        return {"rows": list_shown(paths)}

    @router.post("/backups")
    def make(body: BackupBody) -> dict[str, Any]:
        """Make a backup of store, settings, hero and champion, and prove it by a restore into a scratch folder."""
        return shown(back_up(body.why))

    @router.post("/backups/{name}/verify")
    def verify(name: Name, _: NothingBody) -> dict[str, Any]:
        """Read every byte of a backup and restore it into a scratch folder."""
        return {"name": name, "ok": True, "bytes": archivist.prove(archivist.find(paths, name))}


def _add_chronicle(router: APIRouter, paths: Paths) -> None:
    @router.get("/chronicle")
    def versions() -> dict[str, Any]:
        """List the named versions of the hero, the highest step first."""
        with closing(read_facts(paths)) as facts:
            found = chronicle.list_versions(facts)
        return {"rows": [{**asdict(one), "place": chronicle.present(paths, one)} for one in found]}

    @router.post("/chronicle")
    def write(body: EntryBody) -> dict[str, Any]:
        """Give a checkpoint a name; it is protected from retention from then on."""
        with closing(open_facts(paths)) as facts:
            return asdict(chronicle.write(facts, body.name, body.checkpoint, why=body.why, notes=body.notes))

    @router.get("/chronicle/{name}")
    def show(name: Name) -> dict[str, Any]:
        """Show a version and where its files lie."""
        with closing(read_facts(paths)) as facts:
            found = chronicle.get(facts, name)
        return {**asdict(found), "place": chronicle.present(paths, found)}

    @router.get("/chronicle/{name}/diff/{other}")
    def diff(name: Name, other: Name) -> dict[str, Any]:
        """Compare two versions: evals, steps, quests that only one contains."""
        with closing(read_facts(paths)) as facts:
            return chronicle.diff(paths, facts, name, other)

    @router.post("/chronicle/{name}/strike")
    def strike(name: Name, _: NothingBody) -> dict[str, Any]:
        """Take a name out of the chronicle; its checkpoint is left to retention."""
        with closing(open_facts(paths)) as facts:
            return asdict(chronicle.strike(facts, name))
