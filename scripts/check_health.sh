#!/usr/bin/env bash
# Asks every service of this host for a sign of life; exit code 0 only when all answer. Flags: --home DIR, --port-base N.
set -euo pipefail
# shellcheck source=scripts/lib_setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib_setup.sh"

parse_flags "$@"
[[ -x "$VENV/bin/realm" ]] || fail "nothing is set up here" "run scripts/start_all.sh first"
exec "$VENV/bin/realm" weaver --health ${FLAGS[@]+"${FLAGS[@]}"}
