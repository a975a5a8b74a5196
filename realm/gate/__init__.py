"""The composition root: one object that knows how to build every place of a realm, each on first use.

`Realm()` opens the base directory that `--home`, REALM_HOME or the working directory names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.paths import Paths, open_home
from realm.core.seeds import derive_seed

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI

    from realm.arena.saver import EnqueueEvals
    from realm.armory.heroes import Hero
    from realm.guild.curriculum import Decision, HeroDiet
    from realm.guild.schedule import Schedule
    from realm.sentinels import Sentinels
    from realm.vault.keeper.vault_keeper import VaultKeeper
    from realm.watchtower import Watchtower


class Realm:
    """All places of one base directory."""

    def __init__(self, home: str | Path | Paths | None = None) -> None:
        self.paths = home if isinstance(home, Paths) else open_home(home)

    @cached_property
    def watchtower(self) -> Watchtower:
        """Read-only views: `watchtower.pool.gaze()`, `watchtower.champions`, snapshots, series."""
        from realm.watchtower import Watchtower

        return Watchtower(self.paths, self.skill_cards)

    @cached_property
    def sentinels(self) -> Sentinels:
        """Health checks: `sentinels.inspector.full_patrol().is_all_clear`."""
        from realm.gate.patrol import all_checks
        from realm.sentinels import Guardian, Sentinels

        return Sentinels(all_checks(self.paths), Guardian(self.paths))

    def schedule(self) -> Schedule:
        """Return the curriculum schedule in force."""
        from realm.guild.schedule import load_schedule

        return load_schedule(self.paths)

    def skill_cards(self) -> dict[str, Any]:
        """Return what pages show of every enabled skill."""
        from realm.guild.gate import gate_rules
        from realm.guild.skills import get_skill
        from realm.watchtower.inputs import SkillCard

        extras = self.schedule().gate
        found = {skill_id: get_skill(skill_id, self.paths) for skill_id in self.schedule().enabled()}
        cards = {}
        for one in found.values():
            rules = gate_rules(one.config.eval, extras)
            cards[one.id] = SkillCard(one.id, one.name, one.icon, one.game_icon, one.color, one.max_level, rules)
        return cards

    @cached_property
    def enqueue_evals(self) -> EnqueueEvals:
        """What asks for the evals of a new checkpoint, inside the transaction that records it."""
        from realm.arena.evals.evaluations import for_checkpoints

        return for_checkpoints(self.paths)

    def hero(self) -> Hero:
        """Return the active hero; raises BadInput when there is none."""
        from realm.armory.heroes import active_hero

        return active_hero(self.paths)

    def hero_diet(self) -> HeroDiet:
        """Return what the active hero is fed: answer styles, mix of levels, bounds of a quest's rows."""
        from realm.armory.heroes import active_preset
        from realm.gate.founding import answer_styles
        from realm.guild.curriculum import HeroDiet

        preset = active_preset(self.paths)
        mix = preset.level_mix
        rows = preset.training.rows_per_step
        return HeroDiet(
            styles=answer_styles(preset),
            level_mix=mix.model_dump(),
            min_rows=rows * 10,
            max_rows=20_000,
            quest_seconds=preset.quest_seconds,
            seed=self.seed(),
        )

    def style_examined(self, level: int) -> str:
        """Return the answer style in which the active hero is examined at a level."""
        from realm.armory.heroes import active_preset
        from realm.gate.founding import answer_styles

        return answer_styles(active_preset(self.paths)).examined(level)

    def foresee(self, schedule: Schedule, count: int) -> list[Decision]:
        """Return the next decisions under a schedule, without side effects."""
        from contextlib import closing

        from realm.core.store import read_facts
        from realm.guild.curriculum import preview
        from realm.guild.skills.loader import all_skills
        from realm.guild.standing import read_state
        from realm.weaver.dataflow import measured_rows_per_s
        from realm.weaver.order import run_seed

        diet = self.hero_diet()
        levels = {skill.id: skill.max_level for skill in all_skills(self.paths).values()}
        with closing(read_facts(self.paths)) as facts:
            state = read_state(facts, levels, diet, measured_rows_per_s(self.paths))
        return preview(state, schedule, count, run_seed(diet))

    def seed(self) -> int:
        """Return the seed of the active configuration."""
        from realm.armory.heroes import active_config

        return active_config(self.paths).config.seed

    def generate(self, skill_id: str, level: int, count: int) -> tuple[list[dict[str, Any]], str, str]:
        """Ask a skill's server for training rows in the hero's styles; returns rows, generator id and version."""
        from realm.core.ids import new_ulid
        from realm.guild.skills import get_trainer

        trainer = get_trainer(skill_id, self.paths)
        seed = derive_seed("by_hand", skill_id, level, new_ulid())
        items = trainer.sample(level=level, count=count, seed=seed, styles=self.hero_diet().styles.at(level))
        rows = [
            {
                "messages": [
                    {"role": "user", "content": item.user_prompt},
                    {"role": "assistant", "content": item.assistant_response},
                ],
                "metadata": {"skill": skill_id, "level": level, "key": item.key, "id": item.id},
            }
            for item in items
        ]
        return rows, f"{skill_id}_skill", str(trainer.info().get("version", "unknown"))

    def tavern_app(self, port: int) -> FastAPI:
        """Build the game's server."""
        from realm.arena.quests.board_routes import UPLOAD_PATH, board_router, control_router
        from realm.arena.quests.quest_routes import quest_router
        from realm.arena.training_routes import training_router
        from realm.armory.config_routes import config_router
        from realm.armory.estimate_routes import estimate_router
        from realm.gate.keeping import back_up
        from realm.guild.exam_routes import exam_router
        from realm.guild.hall_routes import hall_router
        from realm.guild.lineage_routes import lineage_router
        from realm.guild.schedule_routes import schedule_router
        from realm.guild.watch_routes import watch_router
        from realm.tavern.app import make_tavern
        from realm.vault.routes import ledger_router

        routers = [board_router(self.paths, self.generate), quest_router(self.paths), training_router(self.paths)]
        routers += [control_router(self.paths), ledger_router(self.paths)]
        routers += [exam_router(self.paths, self.style_examined), watch_router(self.paths)]
        routers += [hall_router(self.paths), lineage_router(self.paths), *self._checkpoint_routers()]
        routers += [config_router(self.paths, back_up=partial(back_up, self.paths)), estimate_router(self.paths)]
        routers += [schedule_router(self.paths, self.foresee)]
        routers += [self._hero_router()]
        return make_tavern(self.paths, port, routers, watchtower=self.watchtower, upload_paths=(UPLOAD_PATH,))

    def _hero_router(self) -> APIRouter:
        """What the first run asks: heroes there are and could be, the forge check, making one."""
        from realm.armory.hero_routes import hero_router
        from realm.gate.forge_check import forge_checks, this_machine
        from realm.gate.founding import default_preset
        from realm.gate.hero_smith import HeroSmith

        machine = partial(this_machine, self.paths)
        return hero_router(self.paths, HeroSmith(self.paths), machine, lambda: list(forge_checks(self.paths)), default_preset)

    def vault_app(self, port: int, *, address: str | None = None, allowed_hosts: Sequence[str] = ()) -> FastAPI:
        """Build the vault's server: keeper, ledger, checkpoints, evals and training API; its rounds run while it is served.

        On another address than 127.0.0.1 it asks every request for a zone's token. Raises Refused for such an address
        without a token or host names.
        """
        from realm.arena.quests.board_routes import control_router
        from realm.core.listening import plan_listening
        from realm.core.web import make_app
        from realm.gate.vault_service import beside
        from realm.vault.keeper.keeper_routes import keeper_router
        from realm.vault.routes import ledger_router
        from realm.vault.zones.strongholds_copy import keep_copies
        from realm.vault.zones.transfer_routes import zone_router
        from realm.vault.zones.transfer_runner import Runner
        from realm.vault.zones.zone_tokens import TokenFile, list_tokens

        listening = plan_listening(port, address, allowed_hosts, has_token=bool(list_tokens(self.paths)))
        keyring = TokenFile(self.paths, always=True) if listening.address is not None else None
        runner = Runner(self.paths, "vault", chores=keep_copies)
        routers = [keeper_router(self.paths, self.keeper), zone_router(self.paths, runner), ledger_router(self.paths)]
        routers += [control_router(self.paths), *self._checkpoint_routers()]
        return make_app("vault", routers, port=port, lifespan=beside(self.keeper, runner), listening=listening,
                        keyring=keyring, needs={"/api/scan": "operate"})  # fmt: skip

    def branch_app(
        self, port: int, *, zone: str | None = None, address: str | None = None, allowed_hosts: Sequence[str] = ()
    ) -> FastAPI:
        """Build the branch officer of this zone; raises Refused for an open address without a token or host names."""
        from realm.vault.zones.branch_officer import check_zone, officer_app

        check_zone(self.paths, zone)
        return officer_app(self.paths, port, address=address, allowed_hosts=allowed_hosts)

    @cached_property
    def keeper(self) -> VaultKeeper:
        """Return the vault's keeper: where every asset is, and verified copies of them, brought from elsewhere too."""
        from realm.vault.keeper.vault_keeper import VaultKeeper
        from realm.vault.zones.courier import courier_of

        return VaultKeeper(self.paths, courier_of(self.paths))

    def _checkpoint_routers(self) -> list[APIRouter]:
        """What both the Tavern and the vault serve of checkpoints and evals."""
        from realm.arena.evals.film import film_router
        from realm.arena.evals.routes import eval_router
        from realm.gate.crowning import crowning, keep_rules
        from realm.gate.keeping import back_up, go_back, hero_folder
        from realm.gate.making_way import end_arena
        from realm.vault.checkpoint_routes import checkpoint_router
        from realm.vault.keeping.keeping_routes import keeping_router
        from realm.vault.keeping.return_routes import return_router

        rules, bring = partial(keep_rules, self.paths), self.keeper.courier.bring if self.keeper.courier else None
        back = partial(go_back, self.paths, make_way=end_arena)
        keeping = keeping_router(self.paths, partial(back_up, self.paths), partial(hero_folder, self.paths))
        return [checkpoint_router(self.paths, rules, crowning(self.paths), bring=bring), eval_router(self.paths), keeping,
                return_router(back),
                film_router(self.paths)]  # fmt: skip

    def watchtower_app(self, port: int) -> FastAPI:
        """Build the watchtower's server: the views for other programs and the Prometheus metrics."""
        from realm.core.web import make_app
        from realm.guild.lineage_routes import lineage_router
        from realm.watchtower.routes import state_of, tower_routes

        tower = self.watchtower
        routers = [tower_routes(tower), lineage_router(self.paths)]
        return make_app("watchtower", routers, port=port, health=lambda: state_of(tower))
