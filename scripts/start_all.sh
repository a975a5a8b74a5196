#!/usr/bin/env bash
# Sets up what is missing (environment, dependencies, web app, first hero) and starts everything in the background.
# Flags: --home DIR, --port-base N, --seed N.
set -euo pipefail
# shellcheck source=scripts/lib_setup.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib_setup.sh"

parse_flags "$@"
setup_python training
setup_web
"$VENV/bin/realm" hero create --default ${FLAGS[@]+"${FLAGS[@]}"}
exec "$VENV/bin/realm" up --detach ${FLAGS[@]+"${FLAGS[@]}"}
