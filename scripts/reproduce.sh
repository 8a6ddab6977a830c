#!/usr/bin/env bash
# Makes the packages of the current commit twice, in two clones at different
# places with nothing built before, and fails unless they are equal, byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
for place in one/clone another/deeper/clone; do
  git clone --quiet . "$work/$place"
  git -C "$work/$place" -c advice.detachedHead=false checkout --quiet "$commit"
  GOCACHE=$work/$place.gocache VOLBRIDGE_CACHE=$work/$place.cache make --silent --directory "$work/$place" package >&2
  rm -rf "$work/$place.gocache"
done
(cd "$work/one/clone/dist" && sha256sum -- *) | tee "$work/sums"
cd "$work/another/deeper/clone/dist"
sha256sum --check --quiet --strict "$work/sums"
[ "$(find . -type f | wc -l)" = "$(wc -l <"$work/sums")" ]
echo "both builds are equal"
