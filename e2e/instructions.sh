#!/usr/bin/env bash
# Counts the instructions of the benchmarks of the packages that handle samples, by valgrind: machines are noisy, these
# numbers are not. Each benchmark is run for one and for three times as many turns, so that what it takes to begin is left
# out; the garbage collector's part is in it. (Its tool cachegrind counts what callgrind does, which Go's signals end. An
# instruction that older ones do not know, RDTSCP, comes where a lock of the runtime is contended: then it is run again.)
#
# usage: e2e/instructions.sh [REGEXP], by default all of the hot paths
set -euo pipefail
cd "$(dirname "$0")/.."

# package:benchmark:turns
hot=(
  agent/upstream/scrape:KnownLines/known:100 agent/upstream/scrape:KnownLines/PromParser:100
  agent/scraper:Guard:100000 agent/wal:Append:50 agent/wal:Note:100000 agent/shipper:Encode1:100 agent/shipper:Encode2:100
)
if ! command -v valgrind >/dev/null; then
  echo 'instructions.sh: valgrind is not installed: apt-get install valgrind, or the like' >&2
  exit 1
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# count PROGRAM BENCHMARK TURNS: the instructions of the whole run.
count() {
  local try n
  for try in 1 2 3 4 5 6 7 8; do
    n=$(GODEBUG=asyncpreemptoff=1 GOMAXPROCS=1 valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
      "$1" -test.run '^$' -test.bench "^Benchmark$2\$" -test.benchtime "$3x" 2>&1 >"$scratch/out" |
      awk '/I +refs/ {gsub(",", ""); print $4}') || continue
    if [ -n "$n" ] && grep -q '^Benchmark' "$scratch/out"; then
      echo "$n"
      return
    fi
  done
  echo "instructions.sh: $2 does not run under valgrind (tried $try times)" >&2
  return 1
}

printf '%-44s %16s\n' benchmark 'instructions/op'
for entry in "${hot[@]}"; do
  IFS=: read -r package benchmark turns <<<"$entry"
  [[ $benchmark =~ ${1:-.} ]] || continue
  program=$scratch/${package//\//-}
  [ -e "$program" ] || go test -c -tags valgrind -pgo=off -o "$program" "./$package"
  pattern=${benchmark//\//\$\/^}
  few=$(count "$program" "$pattern" "$turns")
  many=$(count "$program" "$pattern" $((3 * turns)))
  printf '%-44s %16d\n' "$package $benchmark" $(((many - few) / (2 * turns)))
done
