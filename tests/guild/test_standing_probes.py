"""Age of retention probes: a level that was asked long ago becomes stale although no other was asked since."""

from __future__ import annotations

from realm.guild.gate import ProbeCount
from realm.guild.level_mix import Probed
from realm.guild.standing import newest_probes


def test_the_only_probe_ages_with_the_hero() -> None:
    probes = [ProbeCount("a", 1800, 1, 20, 20)]
    assert newest_probes(probes, 1800) == {1: Probed(1.0, 0.0)}
    assert newest_probes(probes, 4500) == {1: Probed(1.0, 1.0)}


def test_age_is_a_share_of_the_oldest_one() -> None:
    probes = [ProbeCount("a", 100, 1, 20, 10), ProbeCount("b", 300, 2, 20, 20), ProbeCount("c", 200, 1, 20, 18)]
    assert newest_probes(probes, 400) == {1: Probed(0.9, 1.0), 2: Probed(1.0, 0.5)}
    assert newest_probes([], 400) == {}
