#!/usr/bin/env bash
# Builds wheels and sdists of the core and of every plugin into dist/, checks them, installs all of them from there into a clean
# environment, and tries that: `owae plugins` lists every distribution, and the quickstart trains in small. Used by `make dist`.
#   PYTHON   the interpreter that builds and that the environment is of
#   LOWEST=1 also installs with the lowest versions of the direct dependencies that are allowed, and tries that
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
rm -rf dist
for project in . plugins/*; do
    "$PYTHON" -m build --no-isolation --outdir dist "$project" >/dev/null
done
"$PYTHON" -m twine check --strict dist/*
count=$(find dist -name '*.whl' | wc -l)
[ "$count" = "$(find dist -name '*.tar.gz' | wc -l)" ]
[ "$count" = $(($(find plugins -mindepth 2 -maxdepth 2 -name pyproject.toml | wc -l) + 1)) ]

try() { # a folder for an environment, then pip's constraints
    local folder=$1
    shift
    "$PYTHON" -m venv "$folder"
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --find-links dist "$@" 'owae[all]'
    (
        cd "$folder" # away from the sources
        # shellcheck disable=SC2016
        listed=$(bin/owae plugins --json | bin/python -c 'import json, sys
rows = json.load(sys.stdin)
wrong = [row for row in rows if row["status"] != "ok"]
assert not wrong, wrong
print(len({row["distribution"] for row in rows}))')
        echo "$listed distributions, every plugin ok"
        [ "$listed" = "$count" ]
        # One epoch of each of its trainings.
        bin/owae train "$OLDPWD/examples/quickstart.toml" --out run --set train.epochs=1 --set refine.epochs=1 --set bottom.epochs=1 >/dev/null
        bin/owae sample run -n 4 >/dev/null
        echo "the quickstart trained its phases, an epoch each, and drew samples"
    )
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
try "$scratch/newest"
if [ -n "${LOWEST:-}" ]; then
    "$PYTHON" tools/lowest.py >"$scratch/lowest.txt"
    try "$scratch/lowest" --constraint "$scratch/lowest.txt"
fi
