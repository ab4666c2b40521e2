#!/usr/bin/env bash
# Start the test site: up.sh [DIR]
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
exec /usr/bin/python3 -B "$here/cluster.py" up "$@"
