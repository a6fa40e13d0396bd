#!/usr/bin/env bash
# Installs into a staging directory and builds and runs a consumer in each way there is to use HAKMEM.
set -euo pipefail
LC_ALL=C
unset LD_PRELOAD HAKMEM_LIB
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
prefix=/opt/hakmem
consumer=$HK_TEST_SOURCE/tests/consumer
cc=${CC:-cc} cxx=${CXX:-c++}

fail() { echo "install_test: $*" >&2; exit 1; }

step()
{
    echo "== $*"
}

# ---- What is installed ----

step files
DESTDIR=$stage cmake --install "$HK_TEST_BUILD" --prefix "$prefix" >"$stage/install.log" || fail "cmake --install"
root=$stage$prefix
for file in include/hakmem/hakmem.h lib/libhakmem.so lib/libhakmem.so.1 lib/libhakmem.a lib/hakmem.o \
    lib/pkgconfig/hakmem.pc lib/cmake/hakmem/hakmem-config.cmake lib/cmake/hakmem/hakmem-config-version.cmake \
    lib/cmake/hakmem/hakmem-targets.cmake bin/hakmem share/man/man1/hakmem.1 share/man/man3/hakmem.3; do
    [ -e "$root/$file" ] || fail "$file is not installed"
done
[ -x "$root/bin/hakmem" ] || fail "bin/hakmem is not executable"
[ -L "$root/lib/libhakmem.so" ] && [ -L "$root/lib/libhakmem.so.1" ] || fail "the library's short names are no links"
[ "$(find "$stage" -mindepth 1 -maxdepth 1 | grep -vc 'install.log')" = 1 ] || fail "something lies outside the prefix"
grep -qx "prefix=$prefix" "$root/lib/pkgconfig/hakmem.pc" || fail "hakmem.pc does not name the prefix"
! grep -rqF -e "$stage" -e "$HK_TEST_BUILD" -e "$HK_TEST_SOURCE" "$root/lib/pkgconfig" "$root/lib/cmake" ||
    fail "installed files name the build's paths"

step "other directories"
other=$stage/other_build
CC=$cc cmake -S "$HK_TEST_SOURCE" -B "$other" -DHK_BUILD_TESTS=OFF -DCMAKE_INSTALL_LIBDIR=lib/x \
    -DCMAKE_INSTALL_INCLUDEDIR="$prefix/headers" >"$stage/log" 2>&1 || { cat "$stage/log"; fail "other directories"; }
cp -a "$HK_TEST_BUILD"/{libhakmem.*,hakmem.o,bin} "$other"
DESTDIR=$stage/other cmake --install "$other" --prefix "$prefix" >"$stage/log" 2>&1 ||
    { cat "$stage/log"; fail "cmake --install"; }
for file in headers/hakmem/hakmem.h lib/x/libhakmem.so lib/x/pkgconfig/hakmem.pc lib/x/cmake/hakmem/hakmem-config.cmake; do
    [ -e "$stage/other$prefix/$file" ] || fail "$file is not installed"
done
[ "$(cd "$stage/other" && echo * */*)" = "opt opt/hakmem" ] || fail "something lies outside the prefix"
for variable in prefix="$prefix" libdir="$prefix/lib/x" includedir="$prefix/headers"; do
    found=$(PKG_CONFIG_PATH=$stage/other$prefix/lib/x/pkgconfig pkg-config --variable="${variable%%=*}" hakmem)
    [ "$found" = "${variable#*=}" ] ||
        fail "hakmem.pc does not say $variable"
done

step "the installed command"
[ "$("$root/bin/hakmem" run -- printenv LD_PRELOAD)" = "$(realpath "$root/lib/libhakmem.so.1")" ] ||
    fail "hakmem run does not find the installed library"

# ---- Consumers ----

# check COMMAND...: it says that all is well, in C and in C++.
check()
{
    "$@" | grep -qx 'consumer: ok' || fail "$* failed"
}

step "CMake, shared and static"
cmake -S "$consumer" -B "$stage/consumer" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_CXX_COMPILER="$cxx" >"$stage/log" 2>&1 && cmake --build "$stage/consumer" >>"$stage/log" 2>&1 ||
    { cat "$stage/log"; fail "the CMake consumer does not build"; }
for program in c_shared cxx_shared unnamed c_static cxx_static; do
    check "$stage/consumer/$program"
done
readelf -d "$stage/consumer/c_shared" | grep -q 'NEEDED.*libhakmem.so.1' || fail "c_shared does not need the library"
! readelf -d "$stage/consumer/c_static" | grep -q libhakmem || fail "c_static needs the shared library"

step "CMake, a version that is not there"
if cmake -S "$consumer" -B "$stage/future" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_CXX_COMPILER="$cxx" -DCONSUMER_WANTS=99 >/dev/null 2>&1; then
    fail "find_package(hakmem 99) succeeds"
fi

step "pkg-config, shared and static; -static; hakmem.o"
export PKG_CONFIG_PATH=$root/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
cp -r "$consumer" "$stage/make"
make -C "$stage/make" CC="$cc" CXX="$cxx" OBJECT="$root/lib/hakmem.o" >"$stage/log" 2>&1 ||
    { cat "$stage/log"; fail "the pkg-config consumer does not build"; }
export LD_LIBRARY_PATH=$root/lib
check "$stage/make/c_shared"
check "$stage/make/cxx_shared"
check "$stage/make/unnamed"
unset LD_LIBRARY_PATH
for program in c_archive cxx_archive c_fully_static cxx_fully_static c_object cxx_object; do
    check "$stage/make/$program"
done
! readelf -lW "$stage/make/c_fully_static" | grep -q INTERP || fail "c_fully_static is not static"
for program in c_fully_static cxx_fully_static; do
    for every in 1 2; do
        check timeout 60 env HAKMEM_GUARD_SAMPLE=$every "$stage/make/$program"
    done
done
! grep -i warning "$stage/log" || fail "the pkg-config consumer builds with warnings"
check "$stage/make/host" "$stage/make/plugin.so"
[ "$(pkg-config --modversion hakmem)" = "$("$root/bin/hakmem" version | sed -n 's/^hakmem //p')" ] ||
    fail "pkg-config and the command disagree on the version"

# ---- What the header tells the compiler ----

step "attributes"
attributes() { "$cc" -O2 -Wall -Wextra -Werror -I"$root/include" "$consumer/attributes.c" "$@"; }
attributes "$root/lib/libhakmem.a" -lpthread -o "$stage/attributes" || fail "right uses of hakmem.h are a warning"
check "$stage/attributes"
if [ "$("$cc" -dumpfullversion 2>/dev/null | cut -d. -f1)" -ge 11 ] 2>/dev/null && ! "$cc" --version | grep -q clang; then
    for mistake in 1 2 3 4; do
        ! attributes -DMISTAKE=$mistake -c -o /dev/null 2>"$stage/log" || fail "mistake $mistake is no warning"
        grep -qE 'mismatched-dealloc|nonheap|bounds|overflow' "$stage/log" || { cat "$stage/log"; fail "mistake $mistake"; }
    done
fi

# ---- The manual ----

if command -v man >/dev/null; then
    step "man pages"
    for page in "$root/share/man/man1/hakmem.1" "$root/share/man/man3/hakmem.3"; do
        warnings=$(MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
        [ -z "$warnings" ] || fail "$page: $warnings"
    done
fi
for name in $(grep -o '\bhak_[a-z_]*(' "$root/include/hakmem/hakmem.h" | tr -d '(' | sort -u); do
    grep -q "$name" "$root/share/man/man3/hakmem.3" || fail "hakmem(3) does not describe $name"
done
echo "install_test: ok"
