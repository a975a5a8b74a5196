"""The documents say what the code does: tables, commands, links, texts and formats are compared with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from realm.cli import run
from realm.core import manifest
from realm.core.hosts import Hosts
from realm.core.paths import Paths
from realm.weaver.services import plan_services
from realm.weaver.states import State
from scripts.doc_meanings import ENVIRONMENT
from scripts.doc_shape import DocumentError
from scripts.doc_tables import filled
from tests.docs.document_parts import (
    DOCUMENTS,
    ROOT,
    anchor,
    blocks,
    headings,
    links,
    literal_pieces,
    mentioned,
    prose,
    quoted,
    read,
    realm_lines,
    resolve,
    tree_paths,
)

# Words of QUICKSTART's commands that need no running service and take no time.
QUICK = {
    "status", "weaver", "skills list", "skills preview", "quests add", "quests list", "quests status", "arena pause",
    "arena resume", "ledger list", "ledger dump", "doctor", "hero list", "config show", "config set",
}  # fmt: skip
SLOW = {"arena train"}
NEED_SERVICES = {"oracle ask"}
# A pretrained model of the reader: its folder does not exist here.
NEED_A_MODEL = {"hero create"}

BANNED = (
    r"shoulds?", r"recommend\w*", r"suggest\w*", r"excellent\w*", r"perfect\w*", r"brilliant\w*", r"awesome", r"amazing",
    r"powerful", r"robust", r"seamless\w*", r"elegant\w*", r"beautiful\w*", r"blazing\w*", r"simply", r"easy", r"easily",
    r"effortless\w*", r"best", r"better", r"great", r"consider\w*", r"please", r"you", r"your", r"we", r"our", r"TODO", r"FIXME",
    r"coming soon", r"sessions?", r"issues?", r"helpers?", r"subagents?", r"assistants", r"prompted", r"chatbot",
)  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:work|root|home|tmp|farm|Users|mnt)/")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a reader who follows the documents: `home` below it is the base directory, nothing runs there."""
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REALM_PORT_BASE", "41000")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_greetings(path: Path) -> None:
    """Write the training file that QUICKSTART shows."""
    rows = re.search(r"cat > greetings\.jsonl <<'END'\n(.*?)END\n", read("QUICKSTART.md"), re.S)
    assert rows
    path.write_text(rows[1], encoding="utf-8")


def tracked(*patterns: str) -> list[str]:
    """Return the files that git knows."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_there_are_exactly_seven_documents() -> None:
    assert sorted(tracked("*.md", "*.MD", "*.markdown", "*.rst")) == sorted(DOCUMENTS)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tables_are_made_from_the_code(document: str) -> None:
    text = read(document)

    assert filled(text) == text, "run .venv/bin/python scripts/doc_tables.py --write"


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(DocumentError, match="no table 'nothing'"):
        filled("<!-- table: nothing -->\n<!-- end of table -->")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_mentioned_commands_exist(document: str) -> None:
    for line in mentioned(read(document)):
        resolve(line)


def test_a_command_that_does_not_exist_is_found() -> None:
    for line in ("quests promote", "ledger list --newest", "nothing"):
        with pytest.raises(LookupError):
            resolve(line)


def test_every_named_command_shows_its_help(reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = {" ".join(resolve(line)[1]) for document in ("README.md", "QUICKSTART.md") for line in mentioned(read(document))}

    for words in sorted(named):
        assert run([*words.split(), "--help"]) == 0
        assert "Usage: realm" in capsys.readouterr().out


def test_quickstart_runs(reader: Path, home: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    write_greetings(reader / "greetings.jsonl")
    ran = set()

    for line in realm_lines(read("QUICKSTART.md")):
        _, words, left = resolve(line)
        name = " ".join(words)
        assert name in QUICK | SLOW | NEED_SERVICES | NEED_A_MODEL, f"say in this test what kind of command {name} is"
        if name not in QUICK or any(word.startswith("~") for word in left):
            continue
        assert run([*words, *left]) == 0, capsys.readouterr().err
        ran.add(name)

    assert ran == QUICK
    said = capsys.readouterr().out
    assert "greetings.jsonl" in said
    assert "all clear" in said


@pytest.mark.slow
def test_quickstart_trains_and_the_documented_formats_hold(reader: Path) -> None:
    home = reader / "home"

    def realm(*words: str) -> str:
        done = subprocess.run([sys.executable, "-m", "realm.cli", *words], capture_output=True, text=True, timeout=110, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return done.stdout

    [line] = [line for line in realm_lines(read("QUICKSTART.md")) if line.startswith("arena train")]
    realm("hero", "create", "--preset", "tiny")
    write_greetings(home / "inbox" / "greetings.jsonl")
    realm(*line.split())
    [folder] = (home / "models" / "current_model").glob("checkpoint-*")

    assert "greetings.jsonl" in realm("ledger", "list")
    assert "greetings.jsonl" in realm("quests", "list", "--state", "completed")
    architecture = read("ARCHITECTURE.md")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    assert set(state) == _first_column(architecture, "state.json")
    hero = json.loads((folder / "hero.json").read_text(encoding="utf-8"))
    [hero_row] = [row for row in architecture.splitlines() if row.startswith("| `hero.json`")]
    assert set(hero) == set(re.findall(r"`(\w+)`", hero_row.split("|")[2]))
    named = {name for row in _rows(architecture, "Checkpoint folder") for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert {path.name for path in folder.iterdir()} <= named
    assert {path.name for path in folder.iterdir()} >= named - {"generation_config.json", "tokenizer_config.json"}


def _rows(text: str, heading: str) -> list[str]:
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ )", text, re.S | re.M)
    assert section, heading
    return [line for line in section[1].splitlines() if line.startswith("| `")]


def _first_column(text: str, heading: str) -> set[str]:
    return {name for row in _rows(text, heading) for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_documented_manifest_is_the_one_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    written = manifest.write_manifest(tmp_path, 3, "checkpoint-3-20261122-1200")
    shown = next(json.loads(b.text) for b in blocks(read("ARCHITECTURE.md"), "json") if manifest.FORMAT in b.text)

    assert list(shown) == list(written)
    assert shown["format"] == written["format"]
    assert set(shown["files"]["model.safetensors"]) == set(written["files"]["model.safetensors"])


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "REMOTE_INFERENCE.md"])
def test_shown_host_registries_are_valid(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_HOST", "trainer")
    shown = [json.loads(block.text) for block in blocks(read(document), "json") if '"hosts"' in block.text]

    assert shown
    for table in shown:
        hosts = Hosts.model_validate(table)
        planned = {service.name for service in plan_services(hosts.local(), 8000)}
        assert {"arena", "tavern", "vault", "dataflow", "evaluator", "inference"} <= planned


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for target in links(read(document)):
        path, _, fragment = target.partition("#")
        assert (ROOT / path).exists(), target
        if fragment:
            assert fragment in {anchor(heading) for heading in headings(read(path or document))}, target


def test_the_tree_of_the_readme_exists() -> None:
    paths = list(tree_paths(read("README.md")))

    assert len(paths) > 40
    for path in paths:
        assert (ROOT / path).exists(), path


def test_the_tree_names_every_place() -> None:
    files = tracked()
    top = {f"{path.split('/')[0]}/" for path in files if "/" in path and not path.startswith(".")}
    places = {f"realm/{path.split('/')[1]}/" for path in files if path.startswith("realm/") and path.count("/") > 1}
    named = set(tree_paths(read("README.md")))

    assert top - named == set()
    assert places - named - {"realm/scrolls/"} == set()


def test_sections_that_the_code_refers_to_exist() -> None:
    sources = [*(ROOT / "realm").rglob("*.py"), *(ROOT / "configs").rglob("*.yaml"), *(ROOT / "scripts").glob("*.py")]
    reference = re.compile(r"([A-Z_]+\.md), ([A-Z][A-Za-z ]*[a-z])")
    asked = {found for path in sources for found in reference.findall(path.read_text(encoding="utf-8"))}

    assert ("ARCHITECTURE.md", "Hosts") in asked
    for document, section in asked:
        assert any(section.startswith(heading) for heading in headings(read(document))), f"{document}, {section}"


def test_every_variable_of_the_environment_is_described() -> None:
    sources = [*(ROOT / "realm").rglob("*.py"), *(ROOT / "scripts").glob("*.sh")]
    used = {name for path in sources for name in re.findall(r"\bREALM_[A-Z_]+\b", path.read_text(encoding="utf-8"))}

    assert used == set(ENVIRONMENT)


def test_quoted_messages_are_the_programs_own() -> None:
    pieces = {piece.strip(" :;,.()'") for piece in literal_pieces()}
    unknown = []

    for text in quoted(read("TROUBLESHOOTING.md")):
        inside = any(text in piece for piece in pieces)
        longest = max((len(piece) for piece in pieces if piece and piece in text), default=0)
        if not inside and longest < min(10, 0.5 * len(text)):
            unknown.append(text)

    assert unknown == []


def test_an_invented_message_is_noticed() -> None:
    pieces = literal_pieces()

    assert not any("the dragon ate the checkpoint" in piece for piece in pieces)
    assert list(quoted('| "the dragon ate the checkpoint" |')) == ["the dragon ate the checkpoint"]


@pytest.mark.parametrize("document", [*DOCUMENTS, "NOTICE"])
def test_style(document: str) -> None:
    # The licences at the end of NOTICE are quoted as they are.
    text = prose(read(document).split("\nThe MIT licence of")[0])

    for word in BANNED:
        found = re.search(rf"\b(?:{word})\b", text, re.I)
        assert not found, f"{document}: {found and text[max(0, found.start() - 40) : found.end() + 40]!r}"
    assert not MACHINE_PATH.search(read(document))


def test_notice_names_what_the_web_app_is_made_of() -> None:
    notice = read("NOTICE")
    package = json.loads(read("web/package.json"))
    authors = re.findall(r"name: '([^']+)'", read("web/src/text/authors.ts"))

    assert authors
    assert [name for name in authors if name not in notice] == []
    assert [name for name in package["dependencies"] if name.lower() not in notice.lower()] == []
    shown = [name for name in package["devDependencies"] if name.startswith(("@fontsource", "@iconify"))]
    assert len(shown) == 3
    assert [name for name in shown if name not in notice] == []


def test_every_service_state_is_explained() -> None:
    named = {name for row in _rows(read("ARCHITECTURE.md"), "Processes") for name in re.findall(r"^\| `(\w+)` \|", row)}

    assert {state.value for state in State} <= named


def test_every_bench_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+\.py)` \|", read("DEVELOPMENT.md"), re.M)

    assert sorted(listed) == sorted(path.split("/")[1] for path in tracked("bench/*.py") if path.count("/") == 1)


def test_changelog_has_the_version() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]

    assert f"## [{version}]" in read("CHANGELOG.md")


def test_the_pages_know_what_the_tavern_serves() -> None:
    """The types of the pages' requests are made from this file: an old one would let a wrong request compile."""
    from scripts import web_api

    assert web_api.FILE.read_text(encoding="utf-8") == web_api.served(), ".venv/bin/python scripts/web_api.py --write"
