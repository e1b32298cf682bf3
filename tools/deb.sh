#!/usr/bin/env bash
# Builds the Debian package from the files of this checkout, as they are, in build/deb.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" meson.build)
folder=build/deb/trunkline-$version
rm -rf build/deb
mkdir -p "$folder"
# What git knows or would: no build folders, no leftovers.  A file that is listed may be gone.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
done | tar --create --null --files-from=- | tar --extract --directory="$folder"

log=build/deb/build.log
if ! (cd "$folder" && DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" \
    dpkg-buildpackage --build=binary --unsigned-changes) >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    echo "dev: the package could not be built; see $log" >&2
    exit 1
fi
ls build/deb/*.deb
