"""Where everything lives: the base directory, resolved once, and every path below it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from realm.core.errors import BadInput
from realm.core.shipped import checkout_root

log = logging.getLogger("realm.paths")

PRIORITIES = ("high", "normal", "low")
BOARD_FOLDERS = (*PRIORITIES, "processing", "failed", "recently_completed")


@dataclass(frozen=True)
class Paths:
    """Every folder and file of one realm; nothing else in the code joins names to the base directory."""

    home: Path

    @property
    def config(self) -> Path:
        return self.home / "config.json"

    @property
    def user_config(self) -> Path:
        return self.home / "config"

    @property
    def hosts(self) -> Path:
        return self.user_config / "hosts.json"

    @property
    def schedule(self) -> Path:
        return self.user_config / "schedule.yaml"

    @property
    def user_skills(self) -> Path:
        return self.home / "configs" / "skills"

    @property
    def user_heroes(self) -> Path:
        return self.home / "configs" / "heroes"

    @property
    def user_specs(self) -> Path:
        return self.home / "configs" / "specs"

    @property
    def inbox(self) -> Path:
        return self.home / "inbox"

    def queue(self, folder: str) -> Path:
        """Return a folder of the quest board; raises BadInput for a name that is not one."""
        if folder not in BOARD_FOLDERS:
            raise BadInput(f"no board folder {folder!r}", hint=f"known: {', '.join(BOARD_FOLDERS)}")
        return self.home / "queue" / folder

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def current_model(self) -> Path:
        return self.models / "current_model"

    def base_hero(self, hero_id: str) -> Path:
        return self.models / hero_id

    @property
    def evals(self) -> Path:
        return self.home / "evals"

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def snapshots(self) -> Path:
        return self.home / "snapshots"

    @property
    def backups(self) -> Path:
        return self.home / "backups"

    @property
    def validation(self) -> Path:
        """Held-out rows: `{skill}_level{L}.jsonl` by the data flow, `general.jsonl` by the player."""
        return self.home / "data" / "validation"

    @property
    def control(self) -> Path:
        return self.home / "control"

    @property
    def status(self) -> Path:
        return self.home / "status"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def facts_db(self) -> Path:
        return self.store / "realm.db"

    @property
    def telemetry_db(self) -> Path:
        return self.store / "telemetry.db"

    @property
    def journal(self) -> Path:
        return self.home / "journal"

    @property
    def trash(self) -> Path:
        return self.home / "trash"

    def ensure(self) -> Paths:
        """Create every folder that may be missing and return self."""
        folders = [self.queue(name) for name in BOARD_FOLDERS]
        folders += [self.inbox, self.current_model, self.evals, self.validation, self.control, self.status]
        folders += [self.logs, self.run, self.store, self.trash, self.user_config]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return self


def resolve_home(explicit: str | os.PathLike[str] | None = None) -> tuple[Path, str]:
    """Return the base directory and the rule that chose it.

    Order: `--home`, `REALM_HOME`, the nearest parent of the working directory that holds `config.json`, the checkout,
    and for an installed wheel `~/realm`.
    """
    if explicit:
        return Path(explicit).expanduser().resolve(), "--home"
    if from_env := os.environ.get("REALM_HOME"):
        return Path(from_env).expanduser().resolve(), "REALM_HOME"
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "config.json").is_file():
            return folder, f"config.json found in {folder}"
    if root := checkout_root():
        return root, "the checkout"
    return Path.home() / "realm", "default for an installed package"


def get_base_dir(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the base directory and log which rule chose it."""
    home, rule = resolve_home(explicit)
    log.info("base directory %s (%s)", home, rule)
    return home


def open_home(explicit: str | os.PathLike[str] | None = None) -> Paths:
    """Resolve the base directory, create its folders and return its paths; raises BadInput when it is not a folder."""
    home = get_base_dir(explicit)
    if home.exists() and not home.is_dir():
        raise BadInput(f"the base directory {home} is not a folder", hint="give a folder with --home")
    try:
        return Paths(home).ensure()
    except OSError as error:
        raise BadInput(f"the base directory {home} cannot be used: {error.strerror}", hint="give a folder with --home") from error
