#!/usr/bin/env bash
# Runs the Go benchmarks of the packages that handle samples where this branch left another one and here, in turn, so that
# what else the machine does meanwhile meets both, and compares them by benchstat. What is not committed counts as here.
# Of agent/upstream only the benchmarks of ours are run: all of Prometheus's take an hour.
#
# usage: e2e/bench-compare.sh [BRANCH [REGEXP [COUNT]]], by default main, all benchmarks, and 6 times
set -euo pipefail
cd "$(dirname "$0")/.."

here=$PWD
branch=${1:-main} regexp=${2:-.} count=${3:-6}
base=$(git merge-base "$branch" HEAD)
if [ "$base" = "$(git rev-parse HEAD)" ] && git diff --quiet HEAD; then
  base=$(git rev-parse HEAD~1) # There is nothing new beside the last commit.
fi
echo "comparing with $(git log -1 --format='%h %s' "$base")"

scratch=$(mktemp -d)
cleanup() {
  git worktree remove --force "$scratch/base" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT
git worktree add --quiet --detach "$scratch/base" "$base"

# packages: those with benchmarks in the tree at hand.
packages() { grep -rl --include='*_test.go' '^func Benchmark' agent config | xargs -n 1 dirname | sort -u; }

# compile TREE NAME: one program for each package, so that nothing is built while something is measured.
compile() {
  local package
  cd "$1"
  for package in $(packages); do
    go test -c -o "$scratch/$2-programs/${package//\//-}" "./$package"
  done
}

# measure TREE NAME: all benchmarks once.
measure() {
  local package
  cd "$1"
  for package in $(packages); do
    local wanted=$regexp
    [[ "$package" != agent/upstream/* ]] || wanted='KnownLines|SeriesRefs|Connections'
    (cd "$package" && "$scratch/$2-programs/${package//\//-}" -test.run '^$' -test.bench "$wanted" -test.benchmem) >>"$scratch/$2.txt"
  done
}

(compile "$scratch/base" base)
(compile "$here" here)
for ((round = 1; round <= count; round++)); do
  echo "round $round of $count" >&2
  (measure "$scratch/base" base)
  (measure "$here" here)
done
"$here/.cache/bin/benchstat" "base=$scratch/base.txt" "here=$scratch/here.txt"
