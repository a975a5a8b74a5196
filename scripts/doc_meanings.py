"""One line on every setting and environment variable, for the tables of ARCHITECTURE.md.

`doc_tables.py` fails when a setting of the code has no line here, or a line here has no setting.
"""

from __future__ import annotations

from realm.armory.settings import SETTINGS as CONFIG

SETTINGS: dict[str, dict[str, str]] = {
    "config": {name: setting.meaning for name, setting in CONFIG.items()},
    "schedule": {
        "strategy": "`adaptive`, `equal`, `focus`, `weighted` or `catch_up`",
        "skills.ID.enabled": "whether the skill takes part",
        "skills.ID.priority": "`focus` takes the highest",
        "skills.ID.weight": "`weighted` shares tokens by it",
        "board.low": "fewer waiting quests than this: the data flow generates one",
        "board.quest_seconds": "wanted seconds of a generated battle at the measured speed; none: as the hero's preset",
        "board.min_rows": "fewest rows of a generated quest; none: ten optimiser steps",
        "board.max_rows": "most rows of a generated quest; none: 20,000",
        "gate.grown_evals": "evals in the window once it has grown",
        "gate.grow_after": "failed windows at a level after which the window grows",
        "gate.z": "standard deviations of the Wilson bound",
        "gate.max_truncated": "share of cut answers that must not be reached",
        "gate.probe_items": "problems of a retention probe",
        "gate.probe_levels": "mastered levels probed at a time",
        "gate.probe_flag": "a probed level at or below this share is flagged",
        "gate.probe_every": "gate evals between two regular probes; 0: only at the gate",
        "gate.rule": "`window`: several evals together; `sprt`: one sequential test; `gate: sprt` is short for it",
        "gate.sprt_p0": "accuracy that must not pass the sequential test",
        "gate.sprt_p1": "accuracy that must pass it",
        "gate.sprt_alpha": "chance that `sprt_p0` passes the first test; the k-th test at a level has alpha / k^2",
        "gate.sprt_beta": "chance that `sprt_p1` fails",
        "gate.sprt_cap": "most problems of one sequential test",
        "sparring.balance": "`full`; `seed_only`: three rows a wrong answer, without the rows that balance right and wrong",
        "sparring.max_age_steps": "steps after which sparring rows that still wait are set aside; a level-up does so at once",
        "sparring.samples": "answers drawn for each problem beside the greedy one",
        "sparring.temperature": "temperature of these answers",
    },
    "skill": {
        "id": "lower-case id; the file is named after it",
        "name": "name for people",
        "icon": "one symbol for text",
        "game_icon": "glyph of game-icons.net",
        "color": "colour of the skill's card",
        "description": "one line",
        "aliases": "other names accepted on the command line",
        "levels.min": "first level",
        "levels.max": "last level",
        "api.port": "port of the skill's server on this machine, moved by `--port-base`; either this or `api.url`",
        "api.url": "address of a server elsewhere",
        "api.server": "`builtin`, `gym`, `command`: the weaver starts it; `external`: a server of the player",
        "api.command": "words that start a `command` server; `{python}`, `{here}` (folder of the file), `{port}` are filled in",
        "gym": "`{task, answer, whole, exact, levels}`: a task of reasoning-gym, with `server: gym`",
        "eval.samples_per_level": "size of the static set of a level",
        "eval.fresh_items": "problems drawn anew for each gate eval",
        "eval.threshold": "share of right answers that a window needs",
        "eval.advancement_evals": "evals in a window; what the pages count up to",
        "eval.min_single": "no eval of the window may be below",
        "eval.min_lower_bound": "least Wilson lower bound of the window's distinct problems",
        "eval.min_gap_steps": "steps between the checkpoints of two evals of a window",
        "eval.max_new_tokens": "most tokens of an answer; none: bytes of the longest right answer and 16, at most 1024",
        "eval.strict_seed_rule": "the mean over the static problems of the window decides alone",
    },
}

ENVIRONMENT: dict[str, str] = {
    "REALM_HOME": "base directory (`--home`)",
    "REALM_PORT_BASE": "every port is this number + (default port - 8000) (`--port-base`)",
    "REALM_SEED": "seed of every random choice (`--seed`)",
    "REALM_HOST": "id of this machine in `config/hosts.json`, where its address does not tell",
    "REALM_DATAFLOW": "`intake-only`: the data flow takes files in and generates none; set by `realm up --until-idle`",
    "REALM_TRACE_EXAMPLES": 'file to which the arena appends a line a step: `{"step", "examples": ["<sha256 prefix>:<row>"]}`',
    "REALM_ORACLE_TOKEN": "API key of this machine's oracle; else `run/oracle.token`",
    "REALM_ORACLE_BUDGET_MB": "memory for loaded checkpoints, default 2048",
    "REALM_ORACLE_SECONDS": "longest time one request may generate, default 120",
    "REALM_ORACLE_PRELOAD": "`latest` (default) or `none`",
    "REALM_ORACLE_DEVICE": "torch device; default: `cuda` where torch finds one, else `cpu`",
    "REALM_ORACLE_THREADS": "torch threads of the oracle; default: half of the cores, at least 1",
    "REALM_INSTANCE": "id of one start of one service; set by the weaver",
    "REALM_PYTHON": "interpreter that the scripts make the environment with",
    "REALM_TORCH_ARGS": "arguments of `pip install` for torch, in place of what the scripts choose",
}
