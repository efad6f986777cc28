#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes the copies of Prometheus's packages anew, from the version that go.mod names, with changes.patch. Run it after an
# update of Prometheus. Where a change no longer fits, git says so: mend the file by hand, then "renew.sh diff" writes
# changes.patch anew. Files of Torchbearer's own are not touched.
#
#   renew.sh [TO]     into TO; this folder if none is given
#   renew.sh diff     changes.patch from what is in this folder
set -eu
packages='scrape tsdb/agent'
files='discovery/manager.go discovery/manager_test.go' # of packages that are not copied whole
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
upstream=$(cd "$here" && go list -m -f '{{.Dir}}' github.com/prometheus/prometheus)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# copy_upstream TO: its files, as they are.
copy_upstream() {
  for package in $packages; do
    mkdir -p "$1/$package"
    cp "$upstream/$package"/*.go "$1/$package"
    [ ! -d "$upstream/$package/testdata" ] || cp -R "$upstream/$package/testdata" "$1/$package"
  done
  for file in $files; do
    mkdir -p "$1/$(dirname "$file")"
    cp "$upstream/$file" "$1/$file"
  done
  chmod -R u+w "$1"
}

if [ "${1:-}" = diff ]; then
  copy_upstream "$work/a"
  copy_upstream "$work/b"
  for package in $packages; do
    for file in "$upstream/$package"/*.go; do cp "$here/$package/$(basename "$file")" "$work/b/$package"; done
  done
  for file in $files; do cp "$here/$file" "$work/b/$file"; done
  (cd "$work" && git diff --no-index --no-prefix --no-color a b >changes.patch || true)
  grep -v '^index ' "$work/changes.patch" >"$here/changes.patch"
  exit
fi

to=${1:-$here}
copy_upstream "$work/copy"
(cd "$work/copy" && GIT_CEILING_DIRECTORIES=$work git apply -p1 --whitespace=nowarn "$here/changes.patch")
mkdir -p "$to"
cp -R "$work/copy/." "$to"
