#!/usr/bin/env bash
# Installs what the tests on a whole cluster need beside e2e/neighbours.sh, where that is missing and can be had:
# Debian's containerd, runc, the standard network plugins and the tools that kubelet and kube-proxy call.
set -euo pipefail

missing=()
command -v containerd >/dev/null || missing+=(containerd)
command -v runc >/dev/null || missing+=(runc)
[ -x /usr/lib/cni/bridge ] || [ -x /opt/cni/bin/bridge ] || missing+=(containernetworking-plugins)
command -v ip >/dev/null || missing+=(iproute2)
command -v iptables >/dev/null || missing+=(iptables)
command -v conntrack >/dev/null || missing+=(conntrack)
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "kubernetes.sh: ${missing[*]} missing, and only root on Debian can install them: tests on a whole cluster will skip"
  exit 0
fi
# No service is wanted: the tests start what they need, in namespaces of their own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null ||
  echo "kubernetes.sh: apt-get install ${missing[*]} did not work: tests on a whole cluster will skip"
