"""Keeps what the pages may ask the Tavern: its OpenAPI without prose, as web/openapi.json, from which their types are made.

    .venv/bin/python scripts/web_api.py          exit code 1 when the file is not what the code serves
    .venv/bin/python scripts/web_api.py --write  writes it
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

if (_root := str(Path(__file__).resolve().parent.parent)) not in sys.path:
    sys.path.insert(0, _root)

FILE = Path(__file__).resolve().parent.parent / "web" / "openapi.json"
# Words for people, and bounds that no type can say.
_PROSE = frozenset({
    "description", "summary", "title", "tags", "operationId", "servers", "default", "pattern", "maximum", "minimum",
    "exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength", "maxItems", "minItems", "multipleOf", "format",
    "additionalProperties",
})  # fmt: skip
_NAMES = frozenset({"properties", "schemas", "paths", "patternProperties"})


def served() -> str:
    """Return the Tavern's OpenAPI as it is kept: sorted, without prose, with the answers of success alone."""
    from realm.core.hosts import PORTS
    from realm.core.paths import Paths
    from realm.gate import Realm

    with tempfile.TemporaryDirectory(prefix="realm-api-") as home:
        found = Realm(Paths(Path(home)).ensure()).tavern_app(PORTS["tavern"]).openapi()
    found["info"] = {"title": "Tavern", "version": "1"}
    return json.dumps(_bare(found), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _bare(value: Any, named: bool = False) -> Any:
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: one for name, one in value.items() if named or name not in _PROSE or (name == "title" and "version" in value)}
    if "responses" in kept and not named:
        kept["responses"] = {code: {"description": "", **_bare(one)} for code, one in kept["responses"].items() if code[0] == "2"}
        return {name: one if name == "responses" else _bare(one, name in _NAMES) for name, one in kept.items()}
    return {name: _bare(one, name in _NAMES) for name, one in kept.items()}


def main() -> int:
    """Write or compare; returns the exit code."""
    wanted = served()
    if "--write" in sys.argv[1:]:
        FILE.write_text(wanted, encoding="utf-8")
        return 0
    same = FILE.is_file() and FILE.read_text(encoding="utf-8") == wanted
    if not same:
        print("web/openapi.json is not what the Tavern serves: .venv/bin/python scripts/web_api.py --write")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
