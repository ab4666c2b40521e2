#!/usr/bin/env bash
# Pull the plug of a host, or start it again: power.sh off|on HOST
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
exec /usr/bin/python3 -B "$here/cluster.py" power "$@"
