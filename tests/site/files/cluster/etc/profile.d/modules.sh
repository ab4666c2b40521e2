# The command `module`, in login shells and in the Bash scripts that they start.
if [ -n "${BASH_VERSION:-}" ]; then
    . /usr/share/modules/init/bash
else
    . /usr/share/modules/init/sh
fi
