#!/usr/bin/env bash
# Installs what the image test needs to start a Docker engine of its own, where that is missing and can be had:
# Debian's docker.io, and busybox-static for a builder image, as nothing may be pulled. The test starts the engine.
set -euo pipefail

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v busybox >/dev/null || missing+=(busybox-static)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "docker.sh: ${missing[*]} missing, and only root on Debian can install them: the image test will skip"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# The engine is started by the test, by hand: no service of it is wanted.
apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null ||
  echo "docker.sh: apt-get install ${missing[*]} did not work: the image test will skip"
