#!/usr/bin/env bash
# Installs the programs of Debian that tests run beside the agent, where they are missing and can be had; a test whose
# programs are missing skips and says so. The tests start them, each with folders and ports or namespaces of its own.
#
# usage: e2e/packages.sh [browser|cluster|chain|image]...
#   browser  Chromium, in which the status pages are looked at
#   cluster  a whole Kubernetes, beside what e2e/neighbours.sh builds: containerd, runc, the standard network plugins,
#            and the tools that kubelet and kube-proxy call
#   chain    what stands behind an agent: nginx and InfluxDB 1.x
#   image    a Docker engine, and busybox for a builder image, as nothing may be pulled
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin # On root's path only.
missing=()

# needs PACKAGE PROGRAM...: one of the programs is enough.
needs() {
  local package=$1 program
  shift
  for program in "$@"; do
    if command -v "$program" >/dev/null; then
      return
    fi
  done
  missing+=("$package")
}

for group in "$@"; do
  case $group in
  browser)
    needs chromium chromium chromium-browser google-chrome
    ;;
  cluster)
    needs containerd containerd
    needs runc runc
    needs containernetworking-plugins /usr/lib/cni/bridge /opt/cni/bin/bridge
    needs iproute2 ip
    needs iptables iptables
    needs conntrack conntrack
    ;;
  chain)
    needs nginx-light nginx
    needs influxdb influxd
    ;;
  image)
    needs docker.io dockerd
    needs busybox-static busybox
    ;;
  *)
    echo "packages.sh: unknown group \"$group\"; known are browser, cluster, chain and image" >&2
    exit 2
    ;;
  esac
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "packages.sh: ${missing[*]} missing, and only root on Debian can install them: tests that need them will skip"
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
  echo "packages.sh: apt-get install ${missing[*]} did not work: tests that need them will skip"
