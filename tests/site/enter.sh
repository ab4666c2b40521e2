#!/usr/bin/env bash
# Run a command on a host of the test site: enter.sh HOST [USER [COMMAND...]]
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
exec /usr/bin/python3 -B "$here/cluster.py" enter "$@"
