#!/usr/bin/env bash
# Prepares a release: refuses a dirty tree, a version that the changelog does not name or that is tagged already, and a failing test;
# then builds dist/ and makes the tag. It uploads nothing: the last lines say what is left to do.
set -euo pipefail
cd "$(dirname "$0")/.."
die() {
    echo "error: $1" >&2
    exit 2
}
[ -z "$(git status --porcelain)" ] || die "the tree is dirty; commit or stash first"
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' owae/__init__.py)
[ -n "$version" ] || die "owae/__init__.py has no __version__"
heading=$(grep -m 1 -E "^## ${version//./\\.}([^0-9.]|$)" CHANGELOG.md) || die "CHANGELOG.md has no heading for $version"
case $heading in *unreleased*) die "CHANGELOG.md calls $version unreleased; write the date" ;; esac
git rev-parse -q --verify "refs/tags/v$version" >/dev/null && die "the tag v$version exists; raise __version__"
[ "${1:-}" != --check ] || { echo "$version can be released"; exit 0; }
make lint types test dist
git tag -a "v$version" -m "owae $version"
echo "tagged v$version; next: git push origin v$version && .venv/bin/python -m twine upload dist/*"
