#!/usr/bin/env bash
# Builds the programs that the tests, the demo, the benchmark and the linters run beside torchbearer, each at one pinned
# version, from its Go module into .cache/bin. What is there already at that version is left alone.
#
# usage: e2e/neighbours.sh [prometheus|promtool|vmagent|node_exporter|helm|kubernetes|golangci-lint|benchstat]...
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
bin=$(dirname "$here")/.cache/bin
mkdir -p "$bin"

# A build for another system does not go with GOBIN, and the caller's GOFLAGS may not suit another module.
build() { env -u GOOS -u GOARCH -u GOFLAGS CGO_ENABLED="${cgo:-0}" "$@"; }

# built NAME VERSION: the stamp beside the binary says which version it is of.
built() { [ -x "$bin/$1" ] && [ "$(cat "$bin/$1.version" 2>/dev/null)" = "$2" ]; }

# install NAME PACKAGE VERSION [FLAGS...]
install() {
  local name=$1 package=$2 version=$3
  shift 3
  built "$name" "$version" && return
  echo "building $name $version into .cache/bin (once; minutes on a cold build cache)"
  build env GOBIN="$bin" go install -ldflags='-s -w' "$@" "$package@$version"
  echo "$version" >"$bin/$name.version"
}

# kubernetes builds what a cluster of one machine needs. Kubernetes and etcd cannot be installed by version, as their
# modules name others by replace directives: the module e2e/kubernetes pins all of them.
kubernetes() {
  cd "$here/kubernetes"
  local version etcd component=k8s.io/component-base/version program
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  etcd=$(go list -m -f '{{.Version}}' go.etcd.io/etcd/server/v3)
  local minor=${version#v1.}
  local flags="-s -w -X $component.gitVersion=$version -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*}"
  for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    built "$program" "$version" && continue
    echo "building $program $version into .cache/bin (once; minutes on a cold build cache)"
    build go build -trimpath -ldflags "$flags" -o "$bin/$program" "k8s.io/kubernetes/cmd/$program"
    echo "$version" >"$bin/$program.version"
  done
  if ! built etcd "$etcd"; then
    echo "building etcd $etcd into .cache/bin (once)"
    build go build -trimpath -ldflags '-s -w' -o "$bin/etcd" go.etcd.io/etcd/server/v3
    echo "$etcd" >"$bin/etcd.version"
  fi
  build go build -trimpath -ldflags '-s -w' -o "$bin/pause" ./pause
}

for name in "${@:-prometheus}"; do
  case $name in
  prometheus | promtool)
    install "$name" "github.com/prometheus/prometheus/cmd/$name" v0.316.0 \
      -tags netgo,remove_all_sd,enable_kubernetes_sd,enable_dns_sd
    ;;
  # With C, as those who make it do: that is what its compression is fast by.
  vmagent) cgo=1 install vmagent github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent v1.148.0 -tags netgo,osusergo ;;
  node_exporter) install node_exporter github.com/prometheus/node_exporter v1.12.1 ;;
  helm) install helm helm.sh/helm/v4/cmd/helm v4.3.1 ;;
  kubernetes) (kubernetes) ;;
  golangci-lint) install golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0 ;;
  benchstat) install benchstat golang.org/x/perf/cmd/benchstat v0.0.0-20260908200009-22c9c6c9d4da ;;
  *)
    echo "neighbours.sh: unknown program \"$name\"; known are prometheus, promtool, vmagent, node_exporter," \
      "helm, kubernetes, golangci-lint and benchstat" >&2
    exit 2
    ;;
  esac
done
