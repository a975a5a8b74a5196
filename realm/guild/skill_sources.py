"""The skills of a base directory as sources of problems, kept up with its YAML files while a process runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from realm.core.errors import RealmError
from realm.core.logs import get_logger
from realm.core.paths import Paths
from realm.guild.skill_client import SkillClient, SkillSource
from realm.guild.skills.loader import all_skills, skill_files

log = get_logger("skill_sources")


class SkillSources(Mapping[str, SkillSource]):
    """Skill id -> client of its server; a file that is added, changed or removed counts from the next look on.

    The first reading raises BadInput for a faulty YAML; a later one is told in the log, and the skills stay as they were.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._stamp: object = None
        self._clients: dict[tuple[str, str, int], SkillClient] = {}
        self._found: dict[str, SkillSource] = {}
        self._look()

    def _look(self) -> None:
        stamp = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in skill_files(self._paths).values()]
        if stamp == self._stamp:
            return
        first, self._stamp = self._stamp is None, stamp
        try:
            listed = all_skills(self._paths)
        except RealmError as error:
            if first:
                raise
            log.error("the skills stay as they were: %s", error)
            return
        addresses = {name: (name, one.api_url, one.max_level) for name, one in listed.items()}
        for address in addresses.values():
            if address not in self._clients:
                self._clients[address] = SkillClient(*address)
        self._found = {name: self._clients[address] for name, address in addresses.items()}

    def __getitem__(self, skill: str) -> SkillSource:
        return self._found[skill]

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(list(self._found))

    def __len__(self) -> int:
        return len(self._found)
