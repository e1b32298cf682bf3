#!/usr/bin/env bash
# Writes the generated documents again; ./dev docs builds the program first.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
for page in configuration console migrating-from-pgbouncer; do
    build/trunkline docs "$page" >"build/$page.md"
    mv "build/$page.md" "docs/$page.md"
done
build/trunkline docs trunkline.5 >build/trunkline.5
mv build/trunkline.5 docs/man/trunkline.5
tools/picture.py
