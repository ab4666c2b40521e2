# The job of the driver of a detached run, outside of the container: sbatch is not in there.
#
# It keeps as many worker jobs in the queue as are wanted, and one job that takes over if this one is lost:
# by its time limit, its node, a signal, or too much memory. That job depends on this one (afternotok), so
# that nothing has to be done by a job that is dying. Given before: run, folder, workers_at_once, budget,
# interval, worker_seconds, submit_environment, and the function drive.

cd "$folder" || exit 1
umask 077
driver_name="tramway-$run-driver" workers_name="tramway-$run-workers"
idle_allowed=2

say() { printf '%s %s\n' "$(date '+%F %T')" "$*" >&2; }

number() { case "$1" in '' | *[!0-9]*) echo 0 ;; *) echo "$1" ;; esac; }

# a job must not inherit what belongs to this one
submit() (
    for name in $(compgen -e); do unset "$name"; done 2>/dev/null
    eval "$submit_environment"
    for name in $(compgen -e | grep -E '^(SLURM|SBATCH)_' | grep -vx SLURM_CONF); do unset "$name"; done
    sbatch --parsable "$@" </dev/null
)

cancel() { scancel --user="$(id -un)" --name="$1" "${@:2}" 2>/dev/null; }

# a person's scancel, as Slurm words it in the log of the job; all else has a reason there
was_cancelled() {
    grep -E "JOB $1 ON [^ ]+ CANCELLED AT " "logs/$driver_name-$1.log" 2>/dev/null | grep -qv 'DUE TO'
}

# no other driver comes; a job that was cancelled has seconds only: the keys go first
over() {
    printf '%s\n' "$1" >driver.ended
    rm -rf tls driver.next
    cancel "$workers_name" --state=PENDING
    cancel "$driver_name" --state=PENDING
    sleep "${2:-5}"
    cancel "$workers_name"
    exit "$1"
}

finish() {
    status=$?
    trap '' TERM
    trap - EXIT
    [ -z "$pool" ] || kill "$pool" 2>/dev/null
    # of a program that was killed; 255 is a container that does not start
    if [ "$status" -ge 128 ] && [ "$status" -lt 255 ]; then
        if [ -e cancelled ] || was_cancelled "$SLURM_JOB_ID"; then
            say "cancelled"
            over "$status" 0
        elif [ -s driver.next ]; then
            say "the driver was lost (status $status): job $(cat driver.next) takes over"
            exit "$status"
        fi
    fi
    over "$status"
}

# Files: drivers = how many there were, and how many of the last ones did nothing
begin() {
    local count idle earlier
    if [ -e cancelled ] || [ -e driver.ended ]; then exit 0; fi
    read -r count idle earlier 2>/dev/null <drivers
    count=$(number "$count") idle=$(number "$idle")
    trap finish EXIT
    trap : TERM
    if [ -n "$earlier" ]; then
        if was_cancelled "$earlier"; then
            say "job $earlier, the driver before, was cancelled"
            over 143 0
        fi
        if [ -n "$(find results -newer driver.started -name '*.*' -print 2>/dev/null | head -n 1)" ]; then
            idle=0
        else
            idle=$((idle + 1))
        fi
        say "takes over from job $earlier"
        # they look for a scheduler that has ended; so does the lock of the results
        cancel "$workers_name" --state=RUNNING
        rm -f scheduler.json results/.lock
    fi
    printf '%s %s %s\n' "$((count + 1))" "$idle" "$SLURM_JOB_ID" >drivers
    touch driver.started
    rm -f driver.next
    if [ "$idle" -ge "$idle_allowed" ]; then
        echo "$idle drivers, one after another, were lost before a single unit was done" >gave-up
        over 1 0
    fi
    next=$(submit --dependency="afternotok:$SLURM_JOB_ID" --kill-on-invalid-dep=yes driver.job) ||
        say "no job can be submitted from here: if this one is lost, none takes over"
    [ -z "$next" ] || printf '%s\n' "${next%%;*}" >driver.next
}

# how many worker jobs wait or run
active() {
    squeue --noheader --array --user="$(id -un)" --name="$workers_name" --format=%i 2>/dev/null | wc -l
    [ "${PIPESTATUS[0]}" -eq 0 ]
}

# Files: submitted = how many worker jobs there were, and when the first ones were submitted
keep_pool() {
    local refused=0 here missing submitted since allowed told
    while sleep "$interval"; do
        read -r submitted since <submitted || continue
        # where the queue cannot be asked: what workers leave when they end
        here=$(active) || here=$((submitted - $(find ended -type f | wc -l)))
        missing=$((workers_at_once - here))
        [ "$missing" -gt 0 ] || continue
        # those that lived for half of their time cost nothing
        allowed=$((workers_at_once * (1 + 2 * ($(date +%s) - since) / worker_seconds) + budget))
        if [ "$((allowed - submitted))" -lt "$missing" ]; then missing=$((allowed - submitted)); fi
        if [ "$missing" -le 0 ]; then
            [ "$here" -gt 0 ] || echo "$submitted worker jobs have ended before their time" >gave-up
            continue
        fi
        if told=$(submit --array="0-$((missing - 1))" workers.job 2>&1); then
            say "$missing worker jobs more"
            printf '%s %s\n' "$((submitted + missing))" "$since" >submitted
            refused=0
        else
            refused=$((refused + 1))
            say "$told"
            if [ "$here" -eq 0 ] && [ "$refused" -ge 3 ]; then
                echo "all worker jobs have ended, and no more can be submitted: ${told//$'\n'/ }" >gave-up
            fi
        fi
    done
}

pool=
begin
keep_pool &
pool=$!
drive
