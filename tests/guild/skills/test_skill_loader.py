"""Skills as data: a mistake in a YAML is named by file, line and key; a new skill needs a YAML and a server alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from realm.core.errors import BadInput, Unknown
from realm.core.hosts import PORTS
from realm.core.paths import Paths
from realm.core.shipped import shipped_dir
from realm.guild.skills import get_skill, get_trainer, list_skills, resolve_alias
from realm.guild.skills.config import read_skill_file
from realm.guild.skills.loader import all_skills, local_port

TEMPLATE = shipped_dir("configs/skills") / "_template.yaml"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path)
    found.user_skills.mkdir(parents=True)
    return found


def _own(paths: Paths, text: str, name: str = "juggling") -> Path:
    file = paths.user_skills / f"{name}.yaml"
    file.write_text(text)
    return file


def _text(**changes: str) -> str:
    text = TEMPLATE.read_text().replace("id: template ", "id: juggling ")
    for old, new in changes.items():
        assert f"{old}:" in text
        text = "\n".join(new if line.strip().startswith(f"{old}:") else line for line in text.split("\n"))
    return text


def test_bin_is_what_the_game_shows(paths: Paths) -> None:
    skill = get_skill("bin", paths)
    assert (skill.name, skill.icon, skill.color, skill.max_level) == ("Binary Alchemy", "🔢", "#F59E0B", 30)
    assert skill.api_url == f"http://127.0.0.1:{PORTS['skill_bin']}" == "http://127.0.0.1:8090"
    rules = skill.eval
    assert (rules.samples_per_level, rules.threshold, rules.advancement_evals, rules.fresh_items) == (5, 0.8, 3, 15)


def test_port_base_moves_the_api(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_skill("bin", paths, port_base=21000).api_url == "http://127.0.0.1:21090"
    monkeypatch.setenv("REALM_PORT_BASE", "22000")
    assert get_skill("bin", paths).api_url == "http://127.0.0.1:22090"
    assert local_port(get_skill("bin", paths)) == 22090


def test_hosts_file_names_the_machine_of_a_skill(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.user_config.mkdir()
    paths.hosts.write_text(
        '{"hosts": {"here": {"name": "Here", "services": {"arena": {}}},'
        '"box": {"name": "Box", "host": "10.9.8.7", "services": {"skill_bin": {"port": 9100}}}}}'
    )
    monkeypatch.setenv("REALM_HOST", "here")
    assert get_skill("bin", paths, port_base=21000).api_url == "http://10.9.8.7:9100"


def test_a_new_skill_is_a_file(paths: Paths) -> None:
    _own(paths, _text())
    assert "juggling" in list_skills(paths)
    assert list(all_skills(paths)) == list_skills(paths)
    skill = get_skill("juggling", paths, port_base=30000)
    assert skill.api_url == "http://127.0.0.1:30095"
    assert get_trainer("juggling", paths, port_base=30000).skill == skill


def test_the_players_file_takes_the_place_of_the_shipped_one(paths: Paths) -> None:
    text = (shipped_dir("configs/skills") / "bin.yaml").read_text().replace("threshold: 0.8", "threshold: 0.9")
    _own(paths, text, "bin")
    assert get_skill("bin", paths).eval.threshold == 0.9


def test_template_is_valid_but_no_skill(paths: Paths, tmp_path: Path) -> None:
    copy = tmp_path / "template.yaml"
    copy.write_text(TEMPLATE.read_text())
    assert read_skill_file(copy).id == "template"
    assert not [name for name in list_skills(paths) if name.startswith("_") or name == "template"]
    keys = yaml.safe_load(TEMPLATE.read_text())
    assert keys.keys() == yaml.safe_load((shipped_dir("configs/skills") / "bin.yaml").read_text()).keys()


def test_unknown_skill_lists_the_known(paths: Paths) -> None:
    for wrong in ("binary", "BIN", "", "../bin", "nope"):
        with pytest.raises(Unknown, match="unknown skill") as caught:
            get_skill(wrong, paths)
        assert "bin" in caught.value.hint


def test_aliases_are_for_command_lines(paths: Paths) -> None:
    _own(paths, _text(aliases="aliases: [balls]"))
    assert [resolve_alias(name, paths) for name in ("bin", "binary", "balls")] == ["bin", "bin", "juggling"]
    with pytest.raises(Unknown):
        resolve_alias("bina", paths)
    with pytest.raises(Unknown):
        get_skill("balls", paths)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"color": "colour: '#22C55E'"}, r"juggling\.yaml:8: colour: unknown key"),
        ({"threshold": "  treshold: 0.8"}, r"juggling\.yaml:\d+: eval\.treshold: unknown key"),
        ({"threshold": "  threshold: 8"}, r"juggling\.yaml:\d+: eval\.threshold: .*less than or equal to 1"),
        ({"port": "  port: http"}, r"juggling\.yaml:13: api\.port: "),
        ({"port": "  port: 80"}, r"api\.port"),
        ({"port": "  port: 8095\n  url: http://a:1"}, r"exactly one of port and url"),
        ({"levels": "levels: {min: 5, max: 4}"}, r"juggling\.yaml:11: levels: .*below min"),
        ({"name": ""}, r"name: Field required"),
        ({"id": "id: other"}, r"juggling\.yaml:4: id 'other' is not the file's name"),
        ({"name": "name: A\nname: B"}, r"juggling\.yaml:6: key 'name' is given twice \(first in line 5\)"),
        ({"name": "name: [unclosed"}, r"juggling\.yaml is not YAML"),
        ({"name": "name: !!python/object/apply:os.getcwd []"}, r"juggling\.yaml is not YAML"),
    ],
)
def test_mistakes_are_named_by_file_line_and_key(paths: Paths, changes: dict[str, str], told: str) -> None:
    _own(paths, _text(**changes))
    with pytest.raises(BadInput, match=told):
        get_skill("juggling", paths)


@pytest.mark.parametrize("text", ["", "- a", "just text", "a: &a [*a]"])
def test_other_yaml_is_refused(paths: Paths, text: str) -> None:
    _own(paths, text)
    with pytest.raises(BadInput, match="juggling"):
        get_skill("juggling", paths)


def test_huge_yaml_is_refused(paths: Paths) -> None:
    _own(paths, "# " + "x" * 300_000)
    with pytest.raises(BadInput, match="bytes"):
        get_skill("juggling", paths)


def test_port_in_yaml_agrees_with_the_port_table() -> None:
    for skill_id, skill in all_skills(Paths(Path("/nonexistent")), port_base=8000).items():
        if f"skill_{skill_id}" in PORTS:
            assert skill.config.api.port == PORTS[f"skill_{skill_id}"]
