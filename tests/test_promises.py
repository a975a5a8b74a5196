"""The short script paths and imports of a checkout, as a table; every row is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# script, arguments, what its output must contain
SCRIPTS = [
    ("weaver/weaver.py", ["--status"], "does not run"),
    ("weaver/weaver.py", ["--dry-run"], "arena"),
    ("core/training_queue.py", ["status"], "queued"),
    ("core/training_queue.py", ["list"], "shown"),
    ("core/training_controller.py", ["status"], "state"),
    ("core/training_controller.py", ["pause"], "pause"),
    ("core/training_controller.py", ["resume"], "resume"),
    ("core/training_controller.py", ["stop"], "stop"),
    ("core/training_controller.py", ["skip"], "skip"),
    ("vault/server.py", ["--help"], "--port"),
    ("vault/branch_officer.py", ["--help"], "--base-dir"),
    ("tavern/server.py", ["--help"], "serve"),
    ("guild/sparring.py", ["--help"], "--checkpoint"),
    ("guild/sparring_validator.py", ["--check-all"], "0 sparring files checked"),
    ("guild/task_registry.py", ["list"], "vault_scan"),
    ("guild/task_registry.py", ["available", "--gpu", "3090"], "may run"),
    ("guild/task_registry.py", ["run", "--task", "lineage_report"], "done"),
    ("guild/task_master.py", ["--status"], "does not run"),
    ("guild/task_master.py", ["--run", "lineage_report"], "done"),
    ("safety/comprehensive_health_check.py", ["--help"], "agree"),
]

ASKED = "VaultKeeper().locate('data_train_syllo_abc').best_location.path"

# imports, an expression over them, its expected value
IMPORTS = [
    ("from realm import Realm", "Realm().watchtower.pool.gaze().battle_state", "offline"),
    ("from guild.skills import get_skill, get_trainer, list_skills", "'bin' in list_skills()", True),
    ("from guild.skills import get_skill", "get_skill('bin').max_level", 30),
    ("from guild.skills import get_skill", "get_skill('bin').icon", "\U0001f522"),
    ("from guild.skills import get_skill", "get_skill('bin').color", "#F59E0B"),
    ("from guild.skills import get_skill", "get_skill('bin').api_url", "http://127.0.0.1:8090"),
    ("from core.hosts import get_service_url, get_host, is_trainer_local", "is_trainer_local()", True),
    ("from core.hosts import get_service_url", "get_service_url('ledger')", "http://127.0.0.1:8767/api/ledger"),
    ("from core.paths import get_base_dir", "str(get_base_dir())", None),
    ("from vault import ask_vault_first, VaultKeeper, VaultDiscovery", "VaultDiscovery().scan_all().problems", []),
    ("from vault import VaultKeeper", "VaultKeeper().locate('checkpoint_175000').found", False),
    ("from vault import VaultDiscovery, VaultKeeper", f"(VaultDiscovery().scan_all(), {ASKED})[1]", "data/train_syllo_abc.jsonl"),
    ("from vault import ask_vault_first", "str(ask_vault_first('checkpoint_175000', fallback='README.md'))", "README.md"),
    ("from vault.client import VaultKeeperClient", "VaultKeeperClient('127.0.0.1:9').is_available()", False),
    ("from core.checkpoint_ledger import extract_step", "extract_step('checkpoint-190000-20251127-1430')", 190000),
    ("from core.checkpoint_ledger import get_ledger", "get_ledger().get_latest()", None),
    ("from vault import StorageRegistry, StrongholdType",
     "StorageRegistry().register_stronghold(name='synology_main', stronghold_type=StrongholdType.NAS, host='192.0.2.1').name",
     "synology_main"),
    ("from vault import push_to_zone, pull_from_zone", "callable(push_to_zone) and callable(pull_from_zone)", True),
    ("from core.checkpoint_ledger import get_ledger_client", "get_ledger_client().is_available()", True),
]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train_syllo_abc.jsonl").write_text("{}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("REALM_")}
    return {**clean, "REALM_HOME": str(tmp_path)}


@pytest.mark.parametrize(("script", "arguments", "said"), SCRIPTS, ids=lambda value: str(value))
def test_script(script: str, arguments: list[str], said: str, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert said in done.stdout


@pytest.mark.parametrize(("line", "expression", "expected"), IMPORTS, ids=lambda value: str(value)[:60])
def test_import(line: str, expression: str, expected: object, environment: dict[str, str], tmp_path: Path) -> None:
    wanted = str(tmp_path) if expression.startswith("str(get_base_dir") else expected
    code = f"{line}\nfound = {expression}\nassert found == {wanted!r}, repr(found)"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
