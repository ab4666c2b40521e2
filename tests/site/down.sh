#!/usr/bin/env bash
# Stop the test site and remove all it made: down.sh [DIR]
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
exec /usr/bin/python3 -B "$here/cluster.py" down "$@"
