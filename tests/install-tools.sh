#!/usr/bin/env bash
# Installs what the interoperability tests drive: Debian packages, and npm packages into the folder given.
set -euo pipefail
folder=${1:-/opt/ecg-node-tools}
packages="dcmtk orthanc orthanc-dicomweb libpixelmed-java default-jre-headless chromium fonts-noto-cjk fonts-noto-core
  libgdcm-tools ctn odil redis-server postgresql prometheus strace iproute2 poppler-utils nodejs npm"
missing=""
for package in $packages; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
# A machine may bring node and java by another way than Debian's packages
command -v node >/dev/null && missing=${missing//nodejs/}
command -v npm >/dev/null && missing=$(echo "$missing" | sed 's/\bnpm\b//')
command -v java >/dev/null && missing=${missing//default-jre-headless/}
if [ -n "${missing// /}" ]; then
  [ "$(id -u)" = 0 ] || { echo "run as root: sudo make test-tools (missing:$missing)"; exit 1; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Services must not start by themselves: the tests start their own on loopback
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.ecg && chmod +x /usr/sbin/policy-rc.d.ecg
  [ -e /usr/sbin/policy-rc.d ] || { mv /usr/sbin/policy-rc.d.ecg /usr/sbin/policy-rc.d; ours=1; }
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
  rm -f /usr/sbin/policy-rc.d.ecg; [ "${ours:-0}" = 0 ] || rm -f /usr/sbin/policy-rc.d
fi
mkdir -p "$folder"
if [ ! -d "$folder/node_modules/@ohif/app/dist" ] || [ ! -d "$folder/node_modules/dcmjs-dimse" ]; then
  npm install --prefix "$folder" --no-audit --no-fund --silent --ignore-scripts "@ohif/app@3.13.2" "dcmjs-dimse@0.3.3"
fi
echo "test tools are there"
