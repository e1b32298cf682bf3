#!/usr/bin/env bash
# Writes the generated documents again; ./dev docs builds the program first.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
build/trunkline docs configuration >build/configuration.md
mv build/configuration.md docs/configuration.md
