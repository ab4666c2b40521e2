#!/usr/bin/env bash
# Install Debian's Chromium, in which the tests look at pages: install.sh
set -euo pipefail

command -v chromium >/dev/null && exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "install.sh needs root, to install chromium" >&2
    exit 1
fi
log="$(mktemp)"
trap 'rm -f -- "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends)
if ! "${apt[@]}" install chromium >"$log" 2>&1; then
    apt-get -qq update >>"$log" 2>&1 || true
    if ! "${apt[@]}" install chromium >>"$log" 2>&1; then
        cat "$log" >&2
        exit 1
    fi
fi
echo "installed: chromium"
