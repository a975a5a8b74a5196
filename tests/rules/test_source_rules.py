"""Rules of the sources, checked on the syntax tree: nothing that runs foreign code, one clock, one writer, no silence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(p for p in (ROOT / "realm").rglob("*.py") if "_shipped" not in p.parts and "static" not in p.parts)

BANNED_IMPORTS = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
BANNED_CALLS = {"eval", "exec", "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen",
                "pickle.loads", "jinja2.Environment", "__import__"}  # fmt: skip
CLOCK = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now"}
# file -> why it may open a file for writing itself
WRITERS = {
    "realm/core/durable.py": "the one writer",
    "realm/core/logs.py": "a rotating log handler of the standard library",
}
WRITING_CALLS = {"write_text", "write_bytes", "touch"}


def name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return "?"


def mode_of(call: ast.Call) -> str | None:
    """The mode of an `open(path, mode)` or `path.open(mode)`; None for other calls."""
    function = name_of(call.func)
    if function != "open" and not function.endswith(".open"):
        return None
    place = 1 if function == "open" else 0
    given = [k.value for k in call.keywords if k.arg == "mode"] or call.args[place : place + 1]
    return str(given[0].value) if given and isinstance(given[0], ast.Constant) else "r"


def findings(tree: ast.AST, file: str) -> Iterator[str]:
    for node in ast.walk(tree):
        at = f"{file}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            yield from (f"{at} imports {a.name}" for a in node.names if a.name.split(".")[0] in BANNED_IMPORTS)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in BANNED_IMPORTS:
                yield f"{at} imports {node.module}"
            yield from (f"{at} imports *" for a in node.names if a.name == "*")
        elif isinstance(node, ast.Call):
            yield from call_findings(node, at, file)
        elif isinstance(node, ast.ExceptHandler):
            if all(isinstance(s, ast.Pass) or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in node.body):
                yield f"{at} except: pass"
            if node.type is None:
                yield f"{at} bare except"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ("0.0.0.0", "::"):
            yield f"{at} binds every interface"


def call_findings(node: ast.Call, at: str, file: str) -> Iterator[str]:
    function = name_of(node.func)
    if function in BANNED_CALLS:
        yield f"{at} calls {function}"
    if function in CLOCK and file != "realm/core/clock.py":
        yield f"{at} reads the wall clock by {function}"
    for keyword in node.keywords:
        off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
        if keyword.arg in ("shell", "trust_remote_code", "allow_pickle") and not off:
            yield f"{at} {keyword.arg}=…"
    if file in WRITERS:
        return
    mode = mode_of(node)
    if mode and set(mode) & set("wax+"):
        yield f"{at} opens for writing"
    if isinstance(node.func, ast.Attribute) and node.func.attr in WRITING_CALLS and name_of(node.func.value) != "durable":
        yield f"{at} writes by {node.func.attr}"
    writing = any(flag in ast.dump(node) for flag in ("O_WRONLY", "O_RDWR", "O_CREAT"))
    if function == "os.open" and writing and file not in LOCKS:
        yield f"{at} opens for writing by os.open"


# file -> why it may open a descriptor for writing
LOCKS = {
    "realm/core/daemon.py": "the lock file, which must be held open and not replaced",
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rules(path: Path) -> None:
    file = path.relative_to(ROOT).as_posix()
    assert list(findings(ast.parse(path.read_text(encoding="utf-8")), file)) == []


BROKEN = {
    "import pickle": "imports pickle",
    "from pickle import loads": "imports pickle",
    "from x import *": "imports *",
    "eval('1')": "calls eval",
    "torch.load(p)": "calls torch.load",
    "yaml.load(p)": "calls yaml.load",
    "run(a, shell=True)": "shell=",
    "load(a, trust_remote_code=True)": "trust_remote_code=",
    "load(a, trust_remote_code=flag)": "trust_remote_code=",
    "time.time()": "wall clock",
    "datetime.now()": "wall clock",
    "datetime.now(UTC)": "wall clock",
    "open(p, 'w')": "opens for writing",
    "open(p, mode='ab')": "opens for writing",
    "p.open('x')": "opens for writing",
    "p.write_text('x')": "writes by",
    "os.open(p, os.O_RDWR)": "os.open",
    "try:\n a()\nexcept E:\n pass": "except: pass",
    "try:\n a()\nexcept E:\n '''why'''": "except: pass",
    "try:\n a()\nexcept:\n b()": "bare except",
    "serve(host='0.0.0.0')": "every interface",
}


@pytest.mark.parametrize("source", BROKEN)
def test_the_rules_see_what_they_forbid(source: str) -> None:
    assert any(BROKEN[source] in finding for finding in findings(ast.parse(source), "realm/x.py"))


@pytest.mark.parametrize("source", [
    "yaml.safe_load(p)", "open(p)", "p.open('rb')", "load(a, trust_remote_code=False)", "model.eval()", "time.monotonic()",
    "try:\n a()\nexcept E:\n log()", "durable.touch(p)",
])  # fmt: skip
def test_the_rules_leave_the_rest_alone(source: str) -> None:
    assert list(findings(ast.parse(source), "realm/x.py")) == []


def test_every_exception_to_a_rule_is_needed() -> None:
    for file in WRITERS:
        tree = ast.parse((ROOT / file).read_text())
        text = ast.dump(tree)
        assert "open" in text or "Handler" in text
    for file in LOCKS:
        assert "O_RDWR" in (ROOT / file).read_text()


def test_lengths() -> None:
    """Files up to 400 lines; functions up to 60 and a signature."""
    long = []
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 400:
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 65:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert long == []
