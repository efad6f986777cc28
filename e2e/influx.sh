#!/usr/bin/env bash
# Installs what the tests of the whole chain run beside the agent, where it is missing and can be had: Debian's nginx
# and InfluxDB 1.x. The tests start them, each with a folder and ports of its own.
set -euo pipefail

missing=()
# /usr/sbin is on root's path only.
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing+=(nginx-light)
command -v influxd >/dev/null || missing+=(influxdb)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "influx.sh: ${missing[*]} missing, and only root on Debian can install them: the tests of the chain will skip"
  exit 0
fi
# No service is wanted, and one that starts would take the ports of a machine that has other uses for them.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null ||
  echo "influx.sh: apt-get install ${missing[*]} did not work: the tests of the chain will skip"
