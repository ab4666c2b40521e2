#!/usr/bin/env bash
# Installs all that the tests need into virtual environments, and runs every test.
# Arguments are passed on to pytest; TEST_ENVIRONMENTS says where the environments go.
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
environments=${TEST_ENVIRONMENTS:-.venv}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MPLBACKEND=Agg

prepare() { # NAME REQUIREMENT...: make the environment and install into it
    local name=$1
    shift
    [ -x "$environments/$name/bin/python" ] || "$python" -m venv "$environments/$name"
    "$environments/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

echo "== Installing (with pandas 3)"
prepare main --editable '.[test]' 'pandas>=3'
bin=$environments/main/bin

echo "== Style and types"
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== Installing the test site: Slurm, munge, sshd, environment modules (Debian's packages)"
    bash tests/site/install.sh
    echo "== Installing Chromium (Debian's package)"
    bash tests/browser/install.sh
fi

test_all() { # NAME PYTEST-ARGUMENT...: what fails beside others on a busy machine may not fail alone
    local python=$environments/$1/bin/python cache=$environments/$1/pytest status=0
    shift
    "$python" -m pytest -o cache_dir="$cache" "$@" || status=$?
    if [ "$status" = 1 ]; then
        echo "== Once more, one after the other: the tests that have failed"
        status=0
        "$python" -m pytest -o cache_dir="$cache" --last-failed "$@" --numprocesses 0 || status=$?
    fi
    return "$status"
}

echo "== Tests"
test_all main --numprocesses 4 --dist loadscope --durations 40 --doctest-modules -m 'not oracle' \
    tramway_dask tests "$@"

echo "== Installing TRamWAy 0.7, which needs pandas below 3"
prepare oracle --editable '.[test,oracle]'

echo "== Tests that compare with TRamWAy, and those that read tables, with pandas below 3"
tables=(tests/test_ascii.py tests/test_companions.py tests/test_tables.py tests/test_store.py tests/test_mat_rwa.py)
test_all oracle --numprocesses 2 --dist loadscope -q -m oracle "${tables[@]/#/--ignore=}" tests "$@"
test_all oracle --numprocesses 2 --dist loadscope -q "${tables[@]}" "$@"
