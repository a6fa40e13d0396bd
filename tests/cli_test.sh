#!/usr/bin/env bash
# The hakmem command: exit statuses, what it refuses and why, the environment it makes.
set -u
LC_ALL=C
export LC_ALL
unset LD_PRELOAD HAKMEM_STATS HAKMEM_STATS_FILE HAKMEM_STATS_JSON
lib_built=$HAKMEM_LIB
unset HAKMEM_LIB # the library would take it for an option
failures=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# A copy of the build tree's shape that every user can read.
mkdir -p "$work/tree/bin"
cp "$HK_TEST_CMD" "$work/tree/bin/hakmem"
cp "$lib_built" "$work/tree/libhakmem.so"
hakmem=$work/tree/bin/hakmem
lib=$work/tree/libhakmem.so
cd "$work" || exit 1

cat >probe.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (argc == 2 && chdir(argv[1]) != 0) return 1;
    for (int i = 0; i < 100000; i++) free(malloc(100));
    puts(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "none");
    return 0;
}
C
cc=${CC:-cc}

# expect STATUS PATTERN COMMAND...: the exit status, and an extended regular expression found in stdout or stderr (empty: any).
expect()
{
    local status=$1 pattern=$2 got
    shift 2
    { "$@" >output 2>&1; } 2>/dev/null
    got=$?
    if [ "$got" != "$status" ] || { [ -n "$pattern" ] && ! grep -qE -- "$pattern" output; }; then
        echo "FAILED: $* (status $got, expected $status; output, expected '$pattern':)"
        sed 's/^/    /' output
        failures=$((failures + 1))
    fi
}

$cc -fno-builtin -o probe probe.c || exit 1

# ---- Usage ----

expect 125 'Usage: hakmem run' "$hakmem"
expect 125 "no command 'walk'" "$hakmem" walk
expect 0 'compare' "$hakmem" --help
expect 0 'stats-file' "$hakmem" run --help
expect 0 'runs=N' "$hakmem" compare --help
expect 125 'no program given' "$hakmem" run
expect 125 'no program given' "$hakmem" run --stats --
expect 125 'unrecognized option' "$hakmem" run --nonsense -- true
expect 125 'NAME=VALUE' "$hakmem" run -o nonsense -- true
expect 125 'NAME=VALUE' "$hakmem" run -o =1 -- true
expect 125 'NAME=VALUE' "$hakmem" run -o hakmem-=1 -- true
expect 125 'number from 1' "$hakmem" compare -n 0 -- true
version=$(sed -n 's/^#define HAKMEM_VERSION_M[A-Z]* //p' "$HK_TEST_SOURCE/include/hakmem/hakmem.h" | paste -sd.)
expect 0 "^hakmem $version\." "$hakmem" version
expect 0 "libhakmem.so $version\." "$hakmem" version
expect 0 "^hakmem $version\." "$hakmem" --version
expect 125 "no program: 'foo'" "$hakmem" version foo

# ---- Running ----

expect 0 '' "$hakmem" run true
expect 0 '' "$hakmem" run -- true
expect 3 '' "$hakmem" run sh -c 'exit 3'
expect 3 '' "$hakmem" run -- sh -c 'exit 3'
expect 143 '' "$hakmem" run -- sh -c 'kill -TERM $$'
expect 137 '' "$hakmem" run -- sh -c 'kill -KILL $$'
expect 0 '^--stats$' "$hakmem" run -- echo --stats
expect 0 '^--stats$' "$hakmem" run echo --stats
expect 0 "^$lib\$" "$hakmem" run -- printenv LD_PRELOAD
expect 0 "^$lib:/other.so\$" env LD_PRELOAD=/other.so "$hakmem" run -- printenv LD_PRELOAD
expect 0 'libhakmem' "$hakmem" run -- cat /proc/self/maps
expect 0 '^17M$' "$hakmem" run -o big-thing=17M -- printenv HAKMEM_BIG_THING
expect 0 '^17M$' "$hakmem" run -o HAKMEM_BIG_THING=17M -- printenv HAKMEM_BIG_THING
for name in hakmem-big-thing HAKMEM-BIG-THING hakmem_big_thing Big_Thing; do
    expect 0 '^17M$' "$hakmem" run -o $name=17M -- printenv HAKMEM_BIG_THING
done
expect 0 '^a=b$' "$hakmem" run -o x=a=b -- printenv HAKMEM_X
expect 0 '^1$' "$hakmem" run --stats -- printenv HAKMEM_STATS
expect 1 '' "$hakmem" run -- printenv HAKMEM_STATS

expect 0 '^11$' "$hakmem" run --json -- sh -c 'echo $HAKMEM_STATS$HAKMEM_STATS_JSON'

# ---- Reports ----

# The probe is made for this: ls closes standard error before the library's turn comes, and sh ends by _exit.
expect 0 'HAKMEM|hakmem' sh -c 'exec "$1" run --stats -- ./probe 2>&1 >/dev/null' sh "$hakmem"
expect 0 '' "$hakmem" run --stats-file "$work/report.txt" -- ./probe
[ -s report.txt ] || { echo "FAILED: --stats-file wrote nothing"; failures=$((failures + 1)); }
expect 0 '' "$hakmem" run --stats-file "$work/report.%p" -- ./probe
ls report.[0-9]* >/dev/null 2>&1 || { echo "FAILED: --stats-file with %p"; failures=$((failures + 1)); }

expect 0 '' "$hakmem" run --stats-file elsewhere.%p -- ./probe tree
ls elsewhere.[0-9]* >/dev/null 2>&1 || { echo "FAILED: --stats-file follows the program"; failures=$((failures + 1)); }
mkdir 100%pure
expect 0 '' sh -c 'cd 100%pure && "$1" run --stats-file report -- ../probe' sh "$hakmem"
[ -s 100%pure/report ] || { echo "FAILED: --stats-file in 100%pure"; failures=$((failures + 1)); }

# ---- Programs that cannot be run ----

mkdir directory
echo 'not a program' >plain.txt
expect 127 'no-such: no such program on PATH' "$hakmem" run -- no-such
expect 127 './no-such: no such file' "$hakmem" run -- ./no-such
expect 126 './plain.txt: not executable' "$hakmem" run -- ./plain.txt
expect 126 'plain.txt: not executable' env PATH="$work:$PATH" "$hakmem" run -- plain.txt
expect 126 './directory: is a directory' "$hakmem" run -- ./directory
mkfifo -m 755 fifo
expect 126 './fifo: not executable' timeout 60 "$hakmem" run -- ./fifo
expect 127 'no-such: no such program' "$hakmem" compare -- no-such

# ---- The library ----

expect 125 'no-such.so' "$hakmem" run --lib ./no-such.so -- true
expect 125 'not a shared library' "$hakmem" run --lib ./plain.txt -- true
echo 'int hak_version(void); int call(void) { return hak_version(); }' >other.c
$cc -shared -fPIC -o other.so other.c || exit 1
for command in run compare version; do
    program=true
    [ $command != version ] || program=
    for other in ./other.so "$hakmem" "$($cc -print-file-name=libm.so.6)"; do
        expect 125 'is not HAKMEM' "$hakmem" $command --lib "$other" -- $program
        [ "$(wc -l <output)" = 1 ] || { echo "FAILED: $command --lib $other says more"; cat output; failures=$((failures + 1)); }
    done
done
expect 0 "^$lib\$" "$hakmem" run --lib tree/libhakmem.so -- printenv LD_PRELOAD
mkdir alone 'with space'
cp "$hakmem" alone/hakmem
cp "$lib" 'with space/libhakmem.so'
expect 125 'not beside' alone/hakmem run -- true
expect 125 'spaces or colons' "$hakmem" run --lib 'with space/libhakmem.so' -- true
mkdir -p prefix/bin prefix/lib
cp "$hakmem" prefix/bin
cp "$lib" prefix/lib/libhakmem.so.1
expect 0 'prefix/lib/libhakmem.so.1$' prefix/bin/hakmem run -- printenv LD_PRELOAD

# ---- Programs that cannot be preloaded into ----

if $cc -static -o static_probe probe.c 2>/dev/null; then
    expect 125 'statically linked' "$hakmem" run -- ./static_probe
    expect 125 'statically linked' "$hakmem" compare -- ./static_probe
else
    echo "note: no static libc, static programs not tried"
fi
if $cc -static-pie -o static_pie_probe probe.c 2>/dev/null; then
    expect 125 'statically linked' "$hakmem" run -- ./static_pie_probe
fi
expect 0 'libhakmem' "$hakmem" run -- ./probe

# The head of an ELF file is enough to tell: byte 4 is the word size, 18 and 19 are the machine.
poke() { cp probe "$1"; printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null; }
poke other_size 4 '\001'
poke other_machine 18 '\026\000' # S/390
expect 125 '32-bit program' "$hakmem" run -- ./other_size
expect 125 'another machine' "$hakmem" run -- ./other_machine
loader_at=$(grep -abo '/lib[^[:cntrl:]]*/ld-linux' probe | head -1)
if [ -n "$loader_at" ]; then
    other=${loader_at#*:}
    poke other_loader "${loader_at%%:*}" "${other%ld-linux}ld-mouse"
    expect 125 'ld-mouse.*another C library' "$hakmem" run -- ./other_loader
fi

script() { { echo "#!$2"; shift 2; printf '%s\n' "$@"; } >"$file"; }
for file in script env_script missing_script loop_script; do
    case $file in
    script) script x "/bin/sh" 'echo "$0 $1 $LD_PRELOAD"' ;;
    env_script) script x "/usr/bin/env sh" 'echo "$0 $1 $LD_PRELOAD"' ;;
    missing_script) script x "/no/such/interpreter -x" ;;
    loop_script) script x "$work/loop_script" ;;
    esac
    chmod +x "$file"
done
expect 0 '^./script word .*libhakmem' "$hakmem" run -- ./script word
expect 0 '^./env_script word .*libhakmem' "$hakmem" run -- ./env_script word
expect 127 '/no/such/interpreter: no such file' "$hakmem" run -- ./missing_script
expect 126 '.' "$hakmem" run -- ./loop_script
if [ -x static_probe ]; then
    printf '#!%s/static_probe\n' "$work" >static_script
    chmod +x static_script
    expect 125 'static_script: its interpreter is' "$hakmem" run -- ./static_script
fi

# Raised privileges: only root can make such files, and only another user's run raises anything.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    other="setpriv --reuid=65534 --regid=65534 --clear-groups"
    cp probe setuid_probe && chmod 4755 setuid_probe
    cp probe setgid_probe && chmod 2755 setgid_probe
    expect 125 'is setuid' $other "$hakmem" run -- ./setuid_probe
    expect 125 'is setgid' $other "$hakmem" run -- ./setgid_probe
    expect 0 'libhakmem' "$hakmem" run -- ./setuid_probe
    cp probe caps_probe
    if setcap cap_net_raw+ep caps_probe 2>/dev/null; then
        expect 125 'file capabilities' $other "$hakmem" run -- ./caps_probe
    else
        echo "note: setcap does not work here, file capabilities not tried"
    fi
    cp probe secret_probe && chmod 711 secret_probe
    expect 0 'libhakmem' $other "$hakmem" run -- ./secret_probe
else
    echo "note: not root, raised privileges not tried"
fi

# ---- Comparing ----

expect 0 'wall time, s .*%' "$hakmem" compare -- ./probe
for line in 'system +HAKMEM +difference' 'user\+sys, s ' 'peak RSS, MiB ' 'Median of 3 runs' "HAKMEM's own report"; do
    grep -qE "$line" output || { echo "FAILED: compare shows no '$line'"; cat output; failures=$((failures + 1)); }
done
expect 0 'Median of 1 run ' "$hakmem" compare -n 1 -- ls /
! grep -q '^bin$' output || { echo "FAILED: compare shows the program's output"; failures=$((failures + 1)); }
expect 0 '^shown$' "$hakmem" compare -n 1 -p -- echo shown
expect 5 'exit status 5' "$hakmem" compare -n 1 -- sh -c 'exit 5'
for side in HAKMEM "the system's allocator"; do
    [ "$(grep -c "failed on $side: exit status 5" output)" = 1 ] ||
        { echo "FAILED: compare does not say once that the program failed on $side"; failures=$((failures + 1)); }
done
echo 'case $LD_PRELOAD in *libhakmem*) exit 0 ;; *) exit 6 ;; esac' >one_side.sh
expect 6 "failed on the system's allocator: exit status 6" "$hakmem" compare -n 2 -- sh one_side.sh
! grep -q 'failed on HAKMEM' output || { echo "FAILED: compare blames HAKMEM"; failures=$((failures + 1)); }
expect 255 'exit status 255' "$hakmem" compare -n 1 -- sh -c 'exit 255'
expect 130 'Median of 1 run' "$hakmem" compare -n 1 -- sh -c 'exit 130'
expect 130 'signal 2' "$hakmem" compare -n 1 -- sh -c 'kill -INT $$'
! grep -q Median output || { echo "FAILED: compare goes on after an interrupt"; failures=$((failures + 1)); }
expect 143 'signal 15' "$hakmem" compare -n 1 -- sh -c 'kill -TERM $$'
expect 125 'nothing to compare' env LD_PRELOAD="$lib" "$hakmem" compare -- true

expect 0 'HAKMEM_STATS_FILE has no effect' "$hakmem" compare -n 1 -o STATS_FILE="$work/asked" -- true
[ "$(grep -c 'has no effect' output)" = 1 ] && [ ! -e asked ] || { echo "FAILED: compare -o STATS_FILE"; failures=$((failures + 1)); }
expect 0 'HAKMEM_STATS has no effect' env HAKMEM_STATS=1 "$hakmem" compare -n 1 -- true

# Three on each side and one for the report, in turns.
echo 'case $LD_PRELOAD in *libhakmem*) echo H ;; *) echo S ;; esac >>"$1"' >turns.sh
expect 0 '' "$hakmem" compare -- sh turns.sh "$work/turns"
[ "$(paste -sd '' turns)" = HSHHSSH ] || { echo "FAILED: turns $(paste -sd '' turns)"; failures=$((failures + 1)); }
mkdir temporary
expect 0 '' env TMPDIR="$work/temporary" "$hakmem" compare -n 1 -- true
[ -z "$(ls temporary)" ] || { echo "FAILED: compare leaves files behind"; failures=$((failures + 1)); }

# Told to end, by a signal for it alone, in the first run and in a timed one: the program ends too, and nothing is left behind.
echo 'echo run >>runs; [ "$(wc -l <runs)" -lt "$1" ] || { echo $$ >pid; exec sleep 10; }' >late.sh
for signal in INT TERM HUP; do
    for run in 1 3; do
        rm -f pid runs
        env --default-signal=INT TMPDIR="$work/temporary" "$hakmem" compare -- sh late.sh $run >output 2>&1 &
        compare=$!
        for _ in $(seq 200); do [ -s pid ] && break; sleep 0.05; done
        kill -s $signal $compare
        wait $compare 2>/dev/null
        got=$?
        [ $got = $((128 + $(kill -l $signal))) ] && [ -z "$(ls temporary)" ] && ! grep -q Median output ||
            { echo "FAILED: compare after $signal in run $run: status $got, $(ls temporary)"; cat output; failures=$((failures + 1)); }
        ! kill "$(cat pid)" 2>/dev/null ||
            { echo "FAILED: the program outlives compare after $signal in run $run"; failures=$((failures + 1)); }
        rm -rf temporary/*
    done
done

# Whoever reads the table may have gone.
expect 0 '' sh -c 'TMPDIR=$2/temporary stdbuf -oL "$1" compare -n 1 -- true | :' sh "$hakmem" "$work"
[ -z "$(ls temporary)" ] || { echo "FAILED: compare leaves files behind without a reader"; failures=$((failures + 1)); }

[ $failures = 0 ] || { echo "$failures failures"; exit 1; }
