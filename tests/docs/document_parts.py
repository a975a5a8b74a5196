"""Reading of the documents: code blocks, commands in them, links, headings, quoted texts."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("README", "QUICKSTART", "ARCHITECTURE", "TROUBLESHOOTING", "REMOTE_INFERENCE", "DEVELOPMENT", "CHANGELOG")
DOCUMENTS = tuple(f"{name}.md" for name in NAMES)
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.S | re.M)
_INLINE = re.compile(r"`(?:\.venv/bin/)?realm ([a-z][^`]*)`")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language and its text."""

    language: str
    text: str


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[Block]:
    """Return the fenced blocks of a language, without the indentation of the fence."""
    found = []
    for indent, name, body in _BLOCK.findall(text):
        if name == language:
            found.append(Block(name, re.sub(f"^{indent}", "", body, flags=re.M)))
    return found


def prose(text: str) -> str:
    """Return a document without its fenced blocks, inline code and made tables."""
    text = re.sub(r"<!-- table: \w+ -->.*?<!-- end of table -->", "", text, flags=re.S)
    return re.sub(r"`[^`\n]*`", "", _BLOCK.sub("", text))


def realm_lines(text: str) -> list[str]:
    """Return the `realm` command lines of the shell blocks, in order, without the program's path."""
    lines = (line.strip() for block in blocks(text, "sh") for line in block.text.splitlines())
    return [line.removeprefix(".venv/bin/realm ") for line in lines if line.startswith(".venv/bin/realm ")]


def mentioned(text: str) -> set[str]:
    """Return every `realm` command line of a document, in blocks and in the text."""
    return {*realm_lines(text), *_INLINE.findall(re.sub(r"\n", " ", text))}


def resolve(line: str) -> tuple[click.Command, list[str], list[str]]:
    """Return command, its words and the remaining arguments of a line; raises LookupError for what does not exist."""
    from realm.cli import root

    command: click.Command = root
    context, words, left = click.Context(root), [], shlex.split(line)
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        child = command.get_command(context, left[0])
        if child is None:
            raise LookupError(f"realm {' '.join([*words, left[0]])}")
        words.append(left.pop(0))
        command = child
    known = {option for parameter in command.params for option in (*parameter.opts, "--help")}
    for argument in left:
        if argument.startswith("--") and argument.split("=")[0] not in known:
            raise LookupError(f"realm {' '.join(words)} {argument}")
    return command, words, left


def links(text: str) -> list[str]:
    """Return the targets of Markdown links that stay inside the repository."""
    return [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]


def headings(text: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", _BLOCK.sub("", text), re.M)


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def tree_paths(text: str) -> Iterator[str]:
    """Yield the paths of the repository tree: four spaces a level, the first column names, two spaces, a comment."""
    above: list[str] = []
    body = next(block.text for block in blocks(text, "text") if "realm/" in block.text)
    for line in body.splitlines():
        level = (len(line) - len(line.lstrip())) // 4
        names = re.split(r" {2,}", line.strip())[0].split()
        for name in names:
            yield "".join([*above[:level], name])
        above = [*above[:level], names[0]]


def quoted(text: str) -> Iterator[str]:
    """Yield the program's texts that a document quotes, cut at their dots."""
    for whole in re.findall(r'"([^"\n]+)"', prose(text)):
        yield from (part.strip() for part in whole.split("...") if len(part.strip()) >= 8)


def literal_pieces() -> set[str]:
    """Return the literal parts of all texts in the package and the shell scripts."""
    found: set[str] = set()
    for path in (ROOT / "realm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    for path in (ROOT / "scripts").glob("*.sh"):
        for text in re.findall(r'"([^"]*)"', path.read_text(encoding="utf-8")):
            found.update(re.split(r"\$\{?\w+\}?", text))
    return found
