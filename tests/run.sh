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

echo "== Installing (with TRamWAy 0.7, the oracle, which needs pandas below 3)"
prepare oracle --editable '.[test]'
bin=$environments/oracle/bin

echo "== Style and types"
"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== Installing the test site: Slurm, munge, sshd, environment modules (Debian's packages)"
    bash tests/site/install.sh
fi

echo "== Tests"
"$bin/python" -m pytest --numprocesses 2 --dist loadgroup --doctest-modules tramway_dask tests "$@"

echo "== Tests with pandas 3; those that compare with TRamWAy are skipped here, they ran above"
prepare pandas3 --editable '.[slurm,matlab]' 'pandas>=3' 'pytest>=8' 'pytest-xdist>=3.5' 'hypothesis>=6.100' scikit-learn
TRAMWAY_DASK_TESTS=without-oracle \
    "$environments/pandas3/bin/python" -m pytest --numprocesses 2 --dist loadgroup -q -m 'not site' tests "$@"
