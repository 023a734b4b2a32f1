#!/usr/bin/env bash
# Installs what the interoperability tests drive: Debian packages, and npm packages into the folder given.
set -euo pipefail
folder=${1:-/opt/ecg-node-tools}
packages="dcmtk orthanc orthanc-dicomweb libpixelmed-java default-jre-headless chromium fonts-noto-cjk fonts-noto-core
  libgdcm-tools ctn odil redis-server postgresql prometheus strace systemd iproute2 openssl poppler-utils nodejs npm"
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
  # An installation that was cut off, or one that is running, must not fail this one; a mirror may fail once
  apt="apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=5"
  dpkg --configure -a >/dev/null
  $apt update || { sleep 5; $apt update; }
  # Services must not start by themselves: the tests start their own on loopback
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d.ecg && chmod +x /usr/sbin/policy-rc.d.ecg
  [ -e /usr/sbin/policy-rc.d ] || { mv /usr/sbin/policy-rc.d.ecg /usr/sbin/policy-rc.d; ours=1; }
  # shellcheck disable=SC2086
  $apt install -y --no-install-recommends $missing >/dev/null || $apt install -y --fix-broken --no-install-recommends $missing
  rm -f /usr/sbin/policy-rc.d.ecg; [ "${ours:-0}" = 0 ] || rm -f /usr/sbin/policy-rc.d
fi
mkdir -p "$folder"
if [ ! -d "$folder/node_modules/dcmjs-dimse" ]; then
  npm install --prefix "$folder" --no-audit --no-fund --loglevel=error --ignore-scripts --fetch-retries=5 "dcmjs-dimse@0.3.3"
fi
# Of OHIF only the built viewer is needed: its package's own dependencies need not be there
if [ ! -e "$folder/ohif/dist/index.html" ]; then
  rm -rf "$folder/ohif" && mkdir -p "$folder/ohif"
  (cd "$folder/ohif" && npm pack --silent --fetch-retries=5 "@ohif/app@3.13.2" >/dev/null)
  tar -xzf "$folder"/ohif/*.tgz -C "$folder/ohif" --strip-components=1 package/dist
  rm -f "$folder"/ohif/*.tgz
fi
echo "test tools are there"
