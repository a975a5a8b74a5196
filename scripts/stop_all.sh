#!/usr/bin/env bash
# Ends the weaver of the base directory and everything it started, nothing else. Flags: --home DIR.
set -euo pipefail
# shellcheck source=scripts/lib_setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib_setup.sh"

parse_flags "$@"
if [[ ! -x "$VENV/bin/realm" ]]; then
    say "nothing is set up here, so nothing runs"
    exit 0
fi
exec "$VENV/bin/realm" down ${FLAGS[@]+"${FLAGS[@]}"}
