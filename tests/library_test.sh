#!/usr/bin/env bash
# The shared library as a file: what it needs, what it shows, and how it is marked.
set -euo pipefail
LC_ALL=C
lib=$HAKMEM_LIB

fail() { echo "library_test: $*" >&2; exit 1; }

dynamic=$(readelf -dW "$lib")
needed=$(grep NEEDED <<<"$dynamic" | sed 's/.*\[\(.*\)\]/\1/' | grep -v '^ld-linux' || true)
[ "$needed" = libc.so.6 ] || fail "needs more than libc: $needed"
grep -q 'SONAME.*\[libhakmem.so.1\]' <<<"$dynamic" || fail "its soname is not libhakmem.so.1"
grep -q 'FLAGS_1.*NOW.*NODELETE' <<<"$dynamic" || fail "is not marked NOW and NODELETE"
! grep -q TEXTREL <<<"$dynamic" || fail "has text relocations"

segments=$(readelf -lW "$lib")
grep -q GNU_RELRO <<<"$segments" || fail "has no RELRO segment"
! grep GNU_STACK <<<"$segments" | grep -q E || fail "has an executable stack"
tls_hex=$(awk '$1 == "TLS" {print $6}' <<<"$segments")
tls_bytes=$((${tls_hex:-0}))
[ "$tls_bytes" -le 64 ] || fail "takes $tls_bytes bytes of static TLS, more than 64"

# The loader's own TLS function would mean a slow model somewhere.
! nm -D --undefined-only "$lib" | grep -q __tls_get_addr || fail "uses __tls_get_addr"

exported=$(nm -D --defined-only "$lib" | awk '{print $3}' | sed 's/@.*//' | grep -v '^hak_' | sort)
family='malloc free calloc realloc aligned_alloc posix_memalign memalign valloc pvalloc malloc_usable_size
reallocarray free_sized free_aligned_sized cfree malloc_trim mallinfo mallinfo2 malloc_info malloc_stats mallopt
__libc_malloc __libc_free __libc_calloc __libc_realloc __libc_memalign __libc_valloc __libc_pvalloc'
for name in $exported; do
    case $name in _Znwm* | _Znam* | _ZdlPv* | _ZdaPv* | _Znwj* | _Znaj* | dlopen | dlmopen) continue ;; esac
    grep -qw -- "$name" <<<"$family" || fail "exports $name"
done
for name in $family _Znwm _Znam _ZdlPv _ZdaPv _ZdlPvm _ZdaPvm _ZnwmSt11align_val_t _ZnamSt11align_val_t \
    _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t; do
    [ "$(getconf LONG_BIT)" = 64 ] || continue
    grep -qxF -- "$name" <<<"$exported" || fail "does not define $name"
done

# Everything the header declares is there.
for name in $(grep -o '\bhak_[a-z_]*(' "$HK_TEST_SOURCE/include/hakmem/hakmem.h" | tr -d '(' | sort -u); do
    nm -D --defined-only "$lib" | grep -q " T $name\$" || fail "hakmem.h declares $name, which is not exported"
done
