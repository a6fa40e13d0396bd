#!/usr/bin/env bash
# The report at the end of a process: where it goes by HAKMEM_STATS_FILE, and what is said if it cannot.
set -u
failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail()
{
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# with FILE COMMAND...
with()
{
    local file=$1
    shift
    timeout 60 env LD_PRELOAD="$HAKMEM_LIB" HAKMEM_STATS=1 HAKMEM_STATS_JSON=1 HAKMEM_STATS_FILE="$file" "$@" 2>"$work/said"
}

# A path of 600 characters is a path.
deep=$work/$(printf 'd%.0s' {1..200})/$(printf 'e%.0s' {1..200})
mkdir -p "$deep"
long=$deep/$(printf 'f%.0s' {1..200})
with "$long" true
[ -s "$long" ] && [ ! -s "$work/said" ] || fail "long path: $(cat "$work/said")"

# One that is none is refused, at the start or when %p has become a number.
with "/$(printf 'a%.0s' {1..5000})" true
grep -q 'bad value for HAKMEM_STATS_FILE: it takes up to 4095 characters' "$work/said" || fail "too long: $(cat "$work/said")"
with "/$(printf '%%p%.0s' {1..2047})" true
grep -q 'the path of the report is too long' "$work/said" || fail "too long with numbers: $(cut -c 1-200 "$work/said")"

with "$work/none/report" true
grep -qx "hakmem: error 2: cannot write the report to $work/none/report" "$work/said" || fail "no directory: $(cat "$work/said")"
with /dev/full true
grep -qx 'hakmem: error 28: cannot write the report to /dev/full' "$work/said" || fail "full: $(cat "$work/said")"

# A FIFO that nobody reads keeps no process from ending; one that is read gets the report.
mkfifo "$work/fifo"
with "$work/fifo" true || fail "a FIFO without a reader: status $?"
grep -q "cannot write the report to $work/fifo" "$work/said" || fail "FIFO: $(cat "$work/said")"
exec 3<>"$work/fifo"
with "$work/fifo" true
read -r -t 20 report <&3
case $report in '{"version"'*) ;; *) fail "a FIFO with a reader: '$report', $(cat "$work/said")" ;; esac
exec 3>&-

# A pipe that is full is waited for.
report=$({ head -c 65000 /dev/zero; with /dev/stdout bash -c :; } | { sleep 1; tail -c +65001; })
case $report in '{"version"'*'}') ;; *) fail "a full pipe: '$report', $(cat "$work/said")" ;; esac

# A program's own file, or its log, that has the number of standard error by the end is left alone.
cat >"$work/ends.py" <<'PY'
import os
import sys

file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
if sys.argv[1] == "closed":
    os.close(2)
    assert os.dup(file) == 2
elif sys.argv[1] == "redirected":
    os.dup2(file, 2)
elif sys.argv[1] == "restored":
    kept = os.dup(2)
    os.dup2(file, 2)
    os.dup2(kept, 2)
os.write(file, b"data")
PY
for how in closed redirected restored; do
    with "" python3 -S "$work/ends.py" $how "$work/data" || fail "standard error $how: status $?"
    [ "$(cat "$work/data")" = data ] || fail "standard error $how: $(head -c 200 "$work/data")"
done
grep -q '^{"version"' "$work/said" || fail "standard error restored: $(cat "$work/said")"
with "$work/report" python3 -S "$work/ends.py" closed "$work/data"
grep -q '^{"version"' "$work/report" && [ "$(cat "$work/data")" = data ] || fail "a path, and standard error closed"
env LD_PRELOAD="$HAKMEM_LIB" HAKMEM_STATS=1 python3 -S "$work/ends.py" redirected "$work/data" 2>&-
[ "$(cat "$work/data")" = data ] || fail "no standard error from the start: $(head -c 200 "$work/data")"

# An empty one is none.
with "" true
grep -q '^{"version"' "$work/said" || fail "empty: $(cat "$work/said")"

exit $((failures > 0))
