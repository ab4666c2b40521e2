#!/usr/bin/env bash
# Build the images for workers:
# build.sh [--python 3.11]... [--output DIR] [--date YYMMDD] [--from EARLIER.sif] [--recipes-only]
# PYTHON says whose versions of dask, numpy and so on the images take over (default: python3);
# SINGULARITY names the executable (default: apptainer or singularity, whichever is found).
set -euo pipefail

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"
checkout="$(dirname -- "$here")"
python="${PYTHON:-python3}"
versions=()
output="$PWD"
date=()
earlier=()
recipes_only=no

usage() { sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"; }

fail() {
    printf 'build.sh: %s\n' "$1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case "$1" in
        --python | --output | --date | --from)
            [ $# -gt 1 ] || fail "$1 needs a value"
            case "$1" in
                --python) versions+=("$2") ;;
                --output) output="$2" ;;
                --date) date=(--date "$2") ;;
                --from) earlier=(--from "$(realpath -- "$2")") ;;
            esac
            shift 2
            ;;
        --recipes-only) recipes_only=yes && shift ;;
        -h | --help) usage && exit 0 ;;
        *) usage >&2 && fail "unknown argument: $1" ;;
    esac
done
[ "${#versions[@]}" -gt 0 ] || versions=(3.11 3.12 3.13)
[ "${#earlier[@]}" -eq 0 ] || [ "${#versions[@]}" -eq 1 ] || fail "--from needs --python, the version of Python in that image"

singularity="${SINGULARITY:-$(command -v apptainer || command -v singularity || true)}"
if [ "$recipes_only" = no ]; then
    [ -n "$singularity" ] || fail "neither apptainer nor singularity is here: install one, name it by SINGULARITY=…, or see README.md"
    singularity="$(command -v -- "$singularity")" || fail "$SINGULARITY cannot be run"
    case "$singularity" in /*) ;; *) singularity="$PWD/$singularity" ;; esac
fi
mkdir -p -- "$output"
output="$(cd -- "$output" && pwd)"

work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT

# In a copy: what an earlier build left in the checkout must not get into the wheel.
mkdir -- "$work/source" "$work/build"
cp -R -- "$checkout/pyproject.toml" "$checkout/README.md" "$checkout/LICENSE" "$checkout/tramway_dask" "$work/source/"
find "$work/source" -name __pycache__ -prune -exec rm -rf -- {} +
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$work/build" "$work/source" >&2 || fail "no wheel could be made of $checkout"
wheel="$(cd -- "$work/build" && echo *.whl)"

digest() {
    if command -v sha256sum >/dev/null; then sha256sum -- "$1"; else shasum -a 256 -- "$1"; fi | cut -d ' ' -f 1
}

as_user=()
[ "$(id -u)" -eq 0 ] || as_user=(--fakeroot)

# The recipe is rendered from the copy too: image, digest and wheel are of one moment.
for version in "${versions[@]}"; do
    recipe="$(PYTHONPATH="$work/source" "$python" -B "$here/render.py" --python "$version" "${date[@]}" "${earlier[@]}" \
        --folder "$work/build" --wheel "$wheel")"
    name="$(basename -- "$recipe" .def)"
    if [ "$recipes_only" = yes ]; then
        cp -- "$recipe" "$output/$name.def"
        cp -- "$work/build/requirements.txt" "$work/build/$wheel" "$output/"
        printf '%s\n' "$output/$name.def"
        continue
    fi
    image="$output/$name.sif"
    partial="$output/.$name.partial.sif"
    (cd -- "$work/build" && "$singularity" build --force "${as_user[@]}" "$partial" "$recipe") >&2 ||
        { rm -f -- "$partial" && fail "the image for Python $version was not built"; }
    mv -f -- "$partial" "$image"
    sum="$(digest "$image")"
    printf '%s\nsha256 %s\n' "$image" "$sum"
    printf 'To register it, in a script or notebook:\n'
    printf '    environments.containers.singularity_containers["%s"] = "%s"\n' "$name.sif" "$image"
    printf 'or, when it lies on a web server: = "https://…/%s#sha256=%s"\n' "$name.sif" "$sum"
done
