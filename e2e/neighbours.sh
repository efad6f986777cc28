#!/usr/bin/env bash
# Builds the programs that the tests, the demo and the linters run beside torchbearer, each at one pinned
# version, from its Go module into .cache/bin. What is there already at that version is left alone.
#
# usage: e2e/neighbours.sh [prometheus|node_exporter|golangci-lint]...
set -euo pipefail

bin=$(cd "$(dirname "$0")/.." && pwd)/.cache/bin
mkdir -p "$bin"

# install NAME PACKAGE VERSION [FLAGS...]: the stamp beside the binary says which version it is of.
install() {
  local name=$1 package=$2 version=$3 stamp="$bin/$1.version"
  shift 3
  if [ -x "$bin/$name" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$version" ]; then
    return
  fi
  echo "building $name $version into .cache/bin (once; minutes on a cold build cache)"
  # GOBIN does not go with a build for another system, and the caller's GOFLAGS may not suit another module.
  env -u GOOS -u GOARCH -u GOFLAGS CGO_ENABLED=0 GOBIN="$bin" go install -ldflags='-s -w' "$@" "$package@$version"
  echo "$version" >"$stamp"
}

for name in "${@:-prometheus}"; do
  case $name in
  prometheus)
    install prometheus github.com/prometheus/prometheus/cmd/prometheus v0.316.0 \
      -tags netgo,remove_all_sd,enable_kubernetes_sd,enable_dns_sd
    ;;
  node_exporter) install node_exporter github.com/prometheus/node_exporter v1.12.1 ;;
  golangci-lint) install golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0 ;;
  *)
    echo "neighbours.sh: unknown program \"$name\"; known are prometheus, node_exporter and golangci-lint" >&2
    exit 2
    ;;
  esac
done
