from __future__ import annotations

import os
import shutil

import pytest

from realm.core.errors import BadInput
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.guild.skill_sources import SkillSources

TEXT = (shipped_dir("configs/skills") / "_template.yaml").read_text().replace("id: template", "id: chess")


def test_a_skill_that_is_added_changed_or_removed_is_seen_without_a_restart(empty_home: Paths) -> None:
    sources = SkillSources(empty_home)
    assert list(sources) == ["bin", "sy"]
    bin_before = sources["bin"]
    empty_home.user_skills.mkdir(parents=True, exist_ok=True)
    path = empty_home.user_skills / "chess.yaml"
    path.write_text(TEXT)
    assert sorted(sources) == ["bin", "chess", "sy"]
    assert (sources["chess"].skill, sources["chess"].max_level) == ("chess", 10)
    assert sources["bin"] is bin_before
    path.write_text(TEXT.replace("max: 10", "max: 12"))
    assert {name: one.max_level for name, one in sources.items()} == {"bin": 30, "chess": 12, "sy": 50}
    path.write_text(TEXT.replace("levels:", "lvls:"))
    os.utime(path, (1, 1))
    assert {name: one.max_level for name, one in sources.items()} == {"bin": 30, "chess": 12, "sy": 50}
    path.unlink()
    assert list(sources) == ["bin", "sy"]


def test_a_faulty_file_is_told_at_the_start(empty_home: Paths) -> None:
    empty_home.user_skills.mkdir(parents=True, exist_ok=True)
    shutil.copy(shipped_dir("configs/skills") / "bin.yaml", empty_home.user_skills / "other.yaml")
    with pytest.raises(BadInput, match="is not the file's name"):
        SkillSources(empty_home)
