#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the copy of Prometheus's package scrape anew, from the version that go.mod names, with changes.patch. Run it after
# an update of Prometheus. Where a change no longer fits, git says so: mend the file by hand, then "renew.sh diff" writes
# changes.patch anew. Files of Torchbearer's own are not touched.
#
#   renew.sh [TO]     into TO; this folder's scrape if none is given
#   renew.sh diff     changes.patch from what is in scrape
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
upstream=$(cd "$here" && go list -m -f '{{.Dir}}' github.com/prometheus/prometheus)/scrape
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# copy_upstream TO: its files, as they are.
copy_upstream() {
  mkdir -p "$1/testdata"
  cp "$upstream"/*.go "$1"
  cp "$upstream"/testdata/* "$1/testdata"
  chmod -R u+w "$1"
}

if [ "${1:-}" = diff ]; then
  copy_upstream "$work/a"
  copy_upstream "$work/b"
  for file in "$upstream"/*.go; do cp "$here/scrape/$(basename "$file")" "$work/b"; done
  (cd "$work" && git diff --no-index --no-prefix --no-color a b >changes.patch || true)
  grep -v '^index ' "$work/changes.patch" >"$here/changes.patch"
  exit
fi

to=${1:-$here/scrape}
copy_upstream "$work/scrape"
(cd "$work/scrape" && GIT_CEILING_DIRECTORIES=$work git apply -p1 --whitespace=nowarn "$here/changes.patch")
mkdir -p "$to"
cp -R "$work/scrape/." "$to"
