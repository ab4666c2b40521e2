#!/usr/bin/env bash
# Download an image once, whoever asks at the same time: download.sh URL PATH [SHA256|-] [SECONDS]
# The last line of output is "present|downloaded SHA256 PATH"; reasons for a failure go to standard error.
# The lock is a folder: unlike flock, making one is exclusive on every network file system.
set -euo pipefail
umask 077

url="$1" path="$2" expected="${3:--}" patience="${4:-3600}"
[ "$expected" != - ] || expected=
part="$path.part" lock="$path.lock" record="$path.sha256"
stale_after="${DOWNLOAD_STALE_AFTER:-60}"   # seconds without a sign of life of who has the lock
me="$(hostname) $$ $RANDOM$RANDOM"
beat='' child=''

fail() {
    printf '%s\n' "$2" >&2
    exit "$1"
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 <"$1"
    else
        openssl dgst -sha256 -r <"$1"
    fi | cut -d ' ' -f 1
}

age() {
    local changed
    changed="$(stat -c %Y -- "$1" 2>/dev/null || stat -f %m -- "$1" 2>/dev/null)" || return 1
    printf '%s\n' "$(($(date +%s) - changed))"
}

# Whether the file is there and is what it should be.
present() {
    local sum
    [ -f "$path" ] || return 1
    sum="$(cat -- "$record" 2>/dev/null || true)"
    if [ -z "$sum" ] || [ "$record" -ot "$path" ]; then
        sum="$(sha256 "$path")"
    fi
    [ -n "$sum" ] || return 1
    [ -z "$expected" ] || [ "$sum" = "$expected" ] || return 1
    printf 'present %s %s\n' "$sum" "$path"
}

# Whether the process that has the lock, or what it has started, is alive on this host.
lives() {
    local fetching
    kill -0 "$1" 2>/dev/null && return
    fetching="$(cat -- "$lock/fetching" 2>/dev/null)" && kill -0 "$fetching" 2>/dev/null
}

is_stale() {
    local host pid seconds
    [ -d "$lock" ] || return 1
    read -r host pid _ <"$lock/owner" 2>/dev/null || host='' pid=''
    if [ -n "$pid" ] && [ "$host" = "$(hostname)" ] && ! lives "$pid"; then
        return 0
    fi
    seconds="$(age "$lock")" && [ "$seconds" -gt "$stale_after" ]
}

# Remove the lock of a process that died. Only one of those who see it so may: they pass a second lock.
take_over() {
    local seconds
    if ! mkdir -- "$lock.breaking" 2>/dev/null; then
        seconds="$(age "$lock.breaking")" && [ "$seconds" -gt "$stale_after" ] && rmdir -- "$lock.breaking" 2>/dev/null
        return 0
    fi
    if is_stale; then
        printf 'taking over from a download that died: %s\n' "$(cat -- "$lock/owner" 2>/dev/null || true)" >&2
        rm -rf -- "$lock"
    fi
    rmdir -- "$lock.breaking" 2>/dev/null || true
}

acquire() {
    local start=$SECONDS
    until mkdir -- "$lock" 2>/dev/null; do
        [ -d "$lock" ] || [ -w "$(dirname -- "$path")" ] || fail 73 "no file can be made in $(dirname -- "$path")"
        if present; then
            exit 0
        fi
        if is_stale; then
            take_over
        elif [ $((SECONDS - start)) -ge "$patience" ]; then
            fail 75 "another download of $path is not done after $patience s: $(cat -- "$lock/owner" 2>/dev/null)"
        else
            sleep 1
        fi
    done
    printf '%s\n' "$me" >"$lock/owner"
    trap release EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # A sign of life for processes on other hosts, as long as this one lives.
    (
        trap - EXIT
        while lives $$ && [ "$(cat -- "$lock/owner" 2>/dev/null)" = "$me" ]; do
            touch -- "$lock"
            sleep 5
        done
    ) </dev/null >/dev/null 2>&1 &
    beat=$!
}

release() {
    [ -z "$beat" ] || kill "$beat" 2>/dev/null || true
    [ -z "$child" ] || kill "$child" 2>/dev/null || true
    if [ "$(cat -- "$lock/owner" 2>/dev/null)" = "$me" ]; then
        rm -rf -- "$lock"
    fi
}

# Wait for the last process started; a signal to this one ends the waiting, and `release` ends that one.
follow() {
    local status=0
    child=$!
    printf '%s\n' "$child" >"$lock/fetching"
    wait "$child" || status=$?
    child=
    return "$status"
}

# Continue the part that is there. Status 2: the server cannot, or refuses.
fetch() {
    local status=0 protocols='=http,https'
    case "$url" in https://*) protocols='=https' ;; esac
    if command -v curl >/dev/null; then
        curl --fail --location --silent --show-error --proto "$protocols" --connect-timeout 30 \
            --speed-limit 1 --speed-time 120 --continue-at - --output "$part" -- "$url" </dev/null &
        follow || status=$?
        case "$status" in 22 | 33 | 36) status=2 ;; esac
    elif command -v wget >/dev/null; then
        wget --quiet --tries=1 --timeout=120 --continue --output-document="$part" -- "$url" </dev/null &
        follow || status=$?
        case "$status" in 8) status=2 ;; esac
    else
        fail 69 "neither curl nor wget is on $(hostname): register a file of your computer instead of $url"
    fi
    return "$status"
}

complete() { [ -n "$expected" ] && [ -f "$part" ] && [ "$(sha256 "$part")" = "$expected" ]; }

# Download into the part; an old part that turns out useless is thrown away once.
download() {
    local attempt=1 status resumed=no
    [ ! -s "$part" ] || resumed=yes
    while ! complete; do
        status=0
        fetch || status=$?
        if [ "$status" -eq 0 ]; then
            if [ -z "$expected" ] || complete; then return; fi
            [ "$resumed" = yes ] || { rm -f -- "$part" && fail 65 "$url is not the file that is registered: its checksum is not $expected"; }
            rm -f -- "$part"
            resumed=no
        elif [ "$status" -eq 2 ]; then
            [ "$resumed" = yes ] || { rm -f -- "$part" && fail 66 "$url was refused by its server (does the link still work?)"; }
            rm -f -- "$part"
            resumed=no
        else
            [ "$attempt" -lt 5 ] || fail 69 "$url was not downloaded after $attempt attempts (status $status); what has come is kept"
            sleep "$attempt"
            attempt=$((attempt + 1))
            [ ! -s "$part" ] || resumed=yes
        fi
    done
}

main() {
    mkdir -p -- "$(dirname -- "$path")" || fail 73 "the folder $(dirname -- "$path") cannot be made"
    if present; then
        exit 0
    fi
    acquire
    if present; then
        exit 0
    fi
    download
    if head -c 512 -- "$part" | grep -qiE '<!doctype|<html'; then
        rm -f -- "$part"
        fail 65 "$url gives a web page, not an image: take the link of the file itself"
    fi
    local sum
    sum="$(sha256 "$part")"
    mv -f -- "$part" "$path"
    printf '%s\n' "$sum" >"$record.new"
    mv -f -- "$record.new" "$record"
    printf 'downloaded %s %s\n' "$sum" "$path"
}

# in one piece: the script may come from standard input, where commands must find nothing of it
main
