#!/usr/bin/env bash
# Try everything that the test site offers, on a site that is up: smoke.sh [IMAGE]
# IMAGE is a file built by the stand-in, with Python in it; without it, one is built.
set -euo pipefail
here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
image="${1:-}"
failures=0

if [ -z "$image" ]; then
    work="$(mktemp -d)"
    trap 'rm -rf -- "$work"' EXIT
    image="$work/smoke.sif"
    "$here/standin/singularity" build "$image" "$here/smoke.def"
fi

on() { bash "$here/enter.sh" "$@"; }
ssh_in() { on laptop tester ssh -o BatchMode=yes -o LogLevel=ERROR alice@login "$1"; }

# expect WHAT PATTERN COMMAND...: the command succeeds and its output has PATTERN.
expect() {
    local what="$1" pattern="$2" output status=0
    shift 2
    output="$("$@" 2>&1)" || status=$?
    if [ "$status" -eq 0 ] && grep -Eq -- "$pattern" <<<"$output"; then
        printf 'ok    %s: %s\n' "$what" "$(tail -n 1 <<<"$output")"
    else
        printf 'FAIL  %s (status %s)\n%s\n' "$what" "$status" "$output"
        failures=$((failures + 1))
    fi
}

# refuse WHAT PATTERN COMMAND...: the command fails and its output has PATTERN.
refuse() {
    local what="$1" pattern="$2" output status=0
    shift 2
    output="$("$@" 2>&1)" || status=$?
    if [ "$status" -ne 0 ] && grep -Eq -- "$pattern" <<<"$output"; then
        printf 'ok    %s: refused (%s): %s\n' "$what" "$status" "$(tail -n 1 <<<"$output")"
    else
        printf 'FAIL  %s was not refused (status %s)\n%s\n' "$what" "$status" "$output"
        failures=$((failures + 1))
    fi
}

# A connection of HOST USER to ADDRESS PORT within 3 s.
connect() {
    on "$1" "$2" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).close()
print("connected")' "$3" "$4"
}

# connect_across LISTENER ADDRESS CALLER: a port opened on one host is reached from another.
connect_across() {
    on "$1" alice python3 -c 'import socket
server = socket.create_server(("0.0.0.0", 18786))
server.settimeout(10)
server.accept()' &
    sleep 0.7
    connect "$3" alice "$2" 18786
    wait
}

fill_scratch() { on login alice bash -c 'cat > /scratch/alice/image.sif' <"$image"; }

expect "ssh from the laptop" '^login$' ssh_in hostname
expect "a warm welcome on standard error only" '^$' ssh_in 'true'
expect "sinfo" 'main\*.*node\[1-2\]' ssh_in 'sinfo'
refuse "no Slurm on the laptop" 'No such file|Permission' on laptop tester sbatch --version
refuse "accounting" 'disabled' ssh_in sacct
expect "a job on both nodes" 'node1.*node2|node2.*node1' ssh_in \
    'cd /scratch/alice && sbatch --quiet --wait -N 2 --ntasks-per-node=1 -o both.log --wrap "srun hostname" && sort both.log | xargs'
expect "a job array" '^4$' ssh_in \
    'cd /scratch/alice && sbatch --quiet --wait --array=0-3 -o a-%a.log --wrap hostname && cat a-?.log | wc -l'
refuse "an array too long" 'Invalid job array' ssh_in 'sbatch --array=0-500 --wrap true'
refuse "a time too long" 'time limit' ssh_in 'sbatch -p short -t 60 --wrap true'
refuse "an unknown partition" 'invalid partition' ssh_in 'sbatch -p nowhere --wrap true'
refuse "a partition for others" 'group' ssh_in 'sbatch -p closed --wrap true'
expect "that partition for its group" 'Submitted' on login bob sbatch -o /dev/null -p closed --wrap true
refuse "singularity before its module" 'not found' ssh_in "bash -lc 'singularity --version'"
expect "module load in ssh" 'stand-in' ssh_in "bash -lc 'module load singularity && singularity --version'"
expect "an image to scratch" '' fill_scratch
expect "python in the image, in a job" '^3\.' ssh_in \
    'mkdir -p /scratch/alice/home && cd /scratch/alice && cat > job.sh <<"END" && sbatch --quiet --wait -o job.log job.sh && cat job.log
#!/usr/bin/env -S bash -l
module load singularity
singularity exec -B /scratch -H /scratch/alice/home image.sif python3 -s -c "import sys; print(sys.version)"
END'
expect "only bound paths are shown" "^\['alice'\] /scratch/alice/home False False" ssh_in \
    "bash -lc 'module load singularity; cd /scratch/alice; singularity exec -B /scratch/alice -H /scratch/alice/home image.sif python3 -c \"import os; print(os.listdir(\\\"/scratch\\\"), os.path.expanduser(\\\"~\\\"), os.path.exists(\\\"/opt/modulefiles\\\"), os.path.exists(\\\"/home/alice\\\"))\"'"
refuse "an unknown option" 'unknown flag' ssh_in \
    '/opt/singularity-standin/singularity exec --bogus /scratch/alice/image.sif true'
refuse "an image that is missing" 'no such file' ssh_in \
    '/opt/singularity-standin/singularity exec /scratch/alice/absent.sif true'
refuse "a path that is missing" "doesn't exist" ssh_in \
    '/opt/singularity-standin/singularity exec -B /nowhere /scratch/alice/image.sif true'
refuse "a command that is missing" 'not found' ssh_in \
    '/opt/singularity-standin/singularity exec /scratch/alice/image.sif no-such-command'
expect "node to login" 'connected' connect_across login login node1
expect "login to node" 'connected' connect_across node2 node2 login
on login alice python3 -c 'import socket, time
server = socket.create_server(("0.0.0.0", 18787))
time.sleep(4)' &
sleep 0.7
refuse "laptop to another port of login" 'refused|timed out|reach' connect laptop tester login 18787
wait
refuse "laptop to a node" 'reach|timed out|refused' connect laptop tester 10.77.2.11 22
refuse "login to the laptop" 'refused|reach|timed out' connect login alice 10.77.1.2 22
expect "a private folder" '' on login alice bash -c 'mkdir -p -m 700 /scratch/alice/private && touch /scratch/alice/private/key'
refuse "bob in alice's private folder" 'Permission denied' on node1 bob ls /scratch/alice/private
refuse "bob in alice's home" 'Permission denied' on login bob ls /home/alice
refuse "the cluster's files on the laptop" 'No such file' on laptop tester ls /scratch
refuse "the machine's files on the cluster" 'No such file' on login root ls "$here"
expect "the laptop's Python" 'tester' on laptop tester python3 -c 'import getpass; print(getpass.getuser())'
bash "$here/cut.sh" on
refuse "ssh while cut" 'timed out' on laptop tester ssh -o BatchMode=yes -o ConnectTimeout=2 alice@login true
bash "$here/cut.sh" off
expect "ssh when restored" '^login$' ssh_in hostname

if [ "$failures" -gt 0 ]; then
    printf '%s checks failed\n' "$failures"
    exit 1
fi
printf 'all checks passed\n'
