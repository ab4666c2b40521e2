#!/usr/bin/env bash
# Install what the test site needs, from Debian's packages: install.sh
# Nothing is started, and no daemon that this installs will start by itself.
set -euo pipefail

packages=(slurmctld slurmd slurm-client munge openssh-server openssh-client environment-modules
    iproute2 iptables mmdebstrap squashfs-tools python3 util-linux)
declare -A units=([slurmctld]=slurmctld [slurmd]=slurmd [munge]=munge [openssh-server]=ssh)
policy=/usr/sbin/policy-rc.d

installed() { [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing=()
for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
    echo "the test site's packages are installed"
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "install.sh needs root, to install: ${missing[*]}" >&2
    exit 1
fi

work="$(mktemp -d)"
restore_policy() {
    rm -f -- "$policy"
    if [ -e "$work/policy" ]; then
        cp -a -- "$work/policy" "$policy"
    fi
    rm -rf -- "$work"
}
if [ -e "$policy" ]; then
    cp -a -- "$policy" "$work/policy"
fi
trap restore_policy EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends)
if ! "${apt[@]}" install "${missing[@]}" >"$work/log" 2>&1; then
    apt-get -qq update >>"$work/log" 2>&1 || true
    if ! "${apt[@]}" install "${missing[@]}" >>"$work/log" 2>&1; then
        cat "$work/log" >&2
        exit 1
    fi
fi

for package in "${missing[@]}"; do
    unit="${units[$package]:-}"
    if [ -n "$unit" ] && command -v systemctl >/dev/null; then
        systemctl --quiet disable "$unit" >/dev/null 2>&1 || true
    fi
done
echo "installed: ${missing[*]}"
