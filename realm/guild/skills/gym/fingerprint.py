"""`python -m realm.guild.skills.gym.fingerprint FILE`: prints the digest of a skill's items, made in this process."""

from __future__ import annotations

import sys
from pathlib import Path

from realm.guild.skills.config import read_skill_file
from realm.guild.skills.gym.conformance import fingerprint
from realm.guild.skills.gym.skill import GymSkill

if __name__ == "__main__":
    sys.stdout.write(fingerprint(GymSkill(read_skill_file(Path(sys.argv[1])))) + "\n")
