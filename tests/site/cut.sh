#!/usr/bin/env bash
# Cut the connection between laptop and login node: cut.sh on|off|reset
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
exec /usr/bin/python3 -B "$here/cluster.py" cut "$@"
