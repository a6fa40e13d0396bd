#!/usr/bin/env bash
# Runs one misuse program and holds it to its line of misuse.txt:
#
#   name  status  pattern
#
# status is the exit status as a shell sees it (134 is abort), pattern an extended regular expression that one whole
# line on stderr must match.  Lines that do not start with a small letter are comments.
set -u
name=$1 program=$2
read -r _ status pattern < <(grep -E "^$name[[:space:]]" "$(dirname "$0")/misuse.txt") || {
    echo "misuse.txt has no complete line for $name"
    exit 1
}

ulimit -c 0
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
("$program" >/dev/null 2>"$errors"; exit $?) 2>/dev/null
got=$?

if [ "$got" != "$status" ] || ! grep -qxE -- "$pattern" "$errors"; then
    echo "$name: status $got, expected $status; stderr, expected to have a line matching '$pattern':"
    cat "$errors"
    exit 1
fi
