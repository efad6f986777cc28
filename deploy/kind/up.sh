#!/usr/bin/env bash
# Makes a kind cluster of three nodes with a central Prometheus and Torchbearer as its chart installs it. Run again after
# a change: the cluster is kept, the image is built anew, and the agents are replaced if it differs.
#
# usage: deploy/kind/up.sh    CLUSTER names it, default torchbearer
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
cluster=${CLUSTER:-torchbearer}
context=kind-$cluster

# need PROGRAM WHERE-TO-GET-IT
need() {
  if ! command -v "$1" >/dev/null; then
    echo "up.sh: $1 is missing: $2" >&2
    lacking=1
  fi
}
lacking=
need docker "https://docs.docker.com/engine/install/"
need kind "go install sigs.k8s.io/kind@latest, or https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
need kubectl "https://kubernetes.io/docs/tasks/tools/"
need helm "https://helm.sh/docs/intro/install/"
[ -z "$lacking" ] || exit 1
if ! docker info >/dev/null 2>&1; then
  echo "up.sh: docker is there, but its engine does not answer: start it (docker info says more)" >&2
  exit 1
fi

if ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
  kind create cluster --name "$cluster" --config "$here/kind.yaml" --wait 120s
fi

# The tag is of the content, so that a new image replaces the pods and the same one does not.
docker build ${GOPROXY:+--build-arg "GOPROXY=$GOPROXY"} --tag torchbearer:kind "$root"
id=$(docker image inspect --format '{{.Id}}' torchbearer:kind)
tag=kind-${id:7:12}
docker tag torchbearer:kind "torchbearer:$tag"
kind load docker-image --name "$cluster" "torchbearer:$tag"

kubectl --context "$context" apply -f "$here/central.yaml"
kubectl --context "$context" -n monitoring rollout status deployment/central --timeout 180s
helm --kube-context "$context" upgrade --install torchbearer "$root/deploy/helm/torchbearer" \
  --namespace torchbearer --create-namespace -f "$here/values.yaml" --set-string image.tag="$tag" --wait --timeout 180s

cat <<TEXT

It runs. To look:

  kubectl --context $context -n torchbearer get pods -o wide        # one agent on each node
  kubectl --context $context -n torchbearer get lease               # which one has the cluster-scoped jobs
  kubectl --context $context -n monitoring port-forward service/central 9090
      http://localhost:9090/query?g0.expr=count+by+(job,clustername,environment)+(up)
  kubectl --context $context -n torchbearer port-forward daemonset/torchbearer 9091:9090
      http://localhost:9091/    http://localhost:9091/api/v1/status/scopes

To end it: deploy/kind/down.sh
TEXT
