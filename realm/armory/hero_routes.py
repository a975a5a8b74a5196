"""HTTP routes of the first run: which heroes there are and could be, the forge check, making one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from realm.armory.config import read_raw
from realm.armory.hero_choice import Machine, choices, look_into
from realm.armory.hero_presets import get_preset, list_presets
from realm.armory.heroes import list_heroes
from realm.core.paths import Paths

Name = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]+$")]
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FolderBody(_Body):
    folder: str = Field(min_length=1, max_length=4096)


class HeroBody(_Body):
    """A wish for a hero: a preset or a local folder, what he is called, how he looks, what he learns."""

    preset: Id | None = None
    folder: str | None = Field(default=None, min_length=1, max_length=4096)
    name: Name = "DIO"
    look: Name | None = None
    skills: list[Id] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _of_one_thing(self) -> HeroBody:
        if (self.preset is None) == (self.folder is None):
            raise ValueError("a hero is made of a preset or of a folder, one of the two")
        return self


class Smith(Protocol):
    """Makes a hero in a process of its own, because that needs torch; one at a time."""

    def begin(self, wish: HeroBody) -> None:
        """Begin; raises Conflict while another one is made, BadInput for what cannot be made."""

    def state(self) -> dict[str, Any]:
        """Return `{"state": "idle|making|made|failed", "text", "seconds", "hero"}`."""


def hero_router(
    paths: Paths, smith: Smith, machine: Callable[[], Machine], checks: Callable[[], Sequence[dict[str, Any]]],
    default_preset: Callable[[], str],
) -> APIRouter:  # fmt: skip
    """Return the routes below `/api/heroes`."""
    router = APIRouter(prefix="/api/heroes", tags=["heroes"])

    @router.get("")
    def heroes() -> dict[str, Any]:
        """List the heroes of this base directory, what one could be made of, and one that is being made."""
        active = read_raw(paths).get("hero") if paths.config.is_file() else None
        rows = [
            {"id": hero.id, "name": hero.name, "model": hero.model, "preset": hero.preset, "active": hero.id == active}
            for hero in list_heroes(paths)
        ]
        offered = choices(list_presets(paths.home), machine())
        return {"rows": rows, "choices": offered, "default": default_preset(), "making": smith.state()}

    @router.get("/forge-check")
    def forge_check() -> dict[str, Any]:
        """Check what training needs of this machine; each row is good or says what to do."""
        return {"checks": list(checks())}

    @router.post("/check-folder")
    def check_folder(body: FolderBody) -> dict[str, Any]:
        """Say what a local Hugging Face folder holds and whether it fits this machine."""
        return look_into(Path(body.folder), machine())

    @router.post("", status_code=202)
    def make(body: HeroBody) -> dict[str, Any]:
        """Begin to make a hero; `GET /api/heroes` tells how it goes. An existing hero is never overwritten."""
        if body.preset is not None:
            get_preset(body.preset, paths.home)
        else:
            look_into(Path(str(body.folder)), machine())
        smith.begin(body)
        return smith.state()

    return router
