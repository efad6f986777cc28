#!/usr/bin/env bash
# Deletes the kind cluster that up.sh made, with everything in it.
set -euo pipefail

cluster=${CLUSTER:-torchbearer}
for program in docker kind; do
  if ! command -v "$program" >/dev/null; then
    echo "down.sh: $program is missing, so there can be no cluster that up.sh made" >&2
    exit 1
  fi
done
kind delete cluster --name "$cluster"
