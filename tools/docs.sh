#!/usr/bin/env bash
# Writes the generated documents again, from the release build.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
build/trunkline docs configuration >docs/configuration.md.new
mv docs/configuration.md.new docs/configuration.md
