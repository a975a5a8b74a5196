"""The commands of `realm evals` on a home whose evals are done: no service is needed to read, compare or export them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eval_fakes import Home, Oracle

from realm.arena.evals.compare import ask_for, resolve_checkpoint
from realm.cli import run
from realm.core.errors import BadInput, Conflict, Unavailable, Unknown


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path / "home", Oracle(lambda step, _prompt: 0.4 if step == 50 else 0.9))
    for step in (50, 100):
        row = resolve_checkpoint(made.facts, made.save(step))
        made.evaluator.work(ask_for(made.facts, row, "bin", 2, "full"))
    monkeypatch.setenv("REALM_HOME", str(made.paths.home))
    monkeypatch.setenv("REALM_PORT_BASE", "42000")
    monkeypatch.chdir(tmp_path)
    return made


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_list(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evals", "list"]) == 0
    assert "4 evals shown" in said(capsys)
    assert run(["evals", "list", "--kind", "full", "--checkpoint", "50", "--skill", "binary", "--json"]) == 0
    [line] = said(capsys).splitlines()
    found = json.loads(line)
    assert (found["step"], found["kind"], found["n"], found["state"]) == (50, "full", 100, "done")


def test_run_shows_what_was_asked_before(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    done = home.evals(kind="full", step=100)[0]
    assert run(["evals", "run", "--step", "100", "--skill", "bin", "--level", "2"]) == 0
    assert f"full: {done['correct']} of 100 right" in said(capsys)
    assert run(["evals", "run", "--step", "100", "--skill", "bin", "--level", "99"]) == BadInput.exit_code
    assert run(["evals", "run", "--step", "7", "--skill", "bin", "--level", "2"]) == Unknown.exit_code


def test_compare(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evals", "compare", "50", "100", "--skill", "bin", "--level", "2", "--json"]) == 0
    found = json.loads(said(capsys))
    assert set(found) >= {"n", "n01", "n10", "p", "right_a", "right_b", "ci95_a", "ci95_b", "a", "b", "skill", "level"}
    assert found["n01"] - found["n10"] == found["right_b"] - found["right_a"] > 20
    assert found["p"] < 1e-4
    assert run(["evals", "compare", "50", "100", "--skill", "bin", "--level", "2"]) == 0
    assert f"n01 (only B right) {found['n01']}, n10 (only A right) {found['n10']}, McNemar exact p = " in said(capsys)


def test_compare_refuses_other_problems(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    path = (home.paths.home / home.evals(kind="full", step=50)[0]["file"]).with_suffix(".jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    assert run(["evals", "compare", "50", "100", "--skill", "bin", "--level", "2"]) == Conflict.exit_code
    assert "1 of 100 problems" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "files"), [("lm-eval", 2), ("inspect", 1), ("eee", 2)])
def test_export(home: Home, form: str, files: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evals", "export", "100", "--format", form]) == 0
    names = said(capsys).split()
    assert len(names) == files
    assert all((tmp_path / name).is_file() for name in names)
    assert run(["evals", "export", "100", "--format", form, "--out", str(tmp_path / "there")]) == 0
    assert len(list((tmp_path / "there").iterdir())) == files


def test_a_missing_hero_or_service_is_said(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["evals", "run", "--step", "100", "--skill", "bin", "--level", "3", "--wait", "0"])
    assert code in (BadInput.exit_code, Unavailable.exit_code)
    assert capsys.readouterr().err.startswith("error: ")
