/*
 * What the fuzz targets share: reading an input, and catching what the library writes.
 *
 * A target is a file fuzz_<name>.c with LLVMFuzzerTestOneInput, which libFuzzer calls, and main.c
 * in every build without libFuzzer.  What must not happen ends the process (CHECK).
 */
#ifndef HAKMEM_FUZZ_H
#define HAKMEM_FUZZ_H

#include "sparse.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_input {
    const uint8_t *data;
    size_t left;
} fuzz_input_t;

static inline uint8_t fuzz_byte(fuzz_input_t *input)
{
    if (input->left == 0)
        return 0;
    input->left--;
    return *input->data++;
}

static inline size_t fuzz_number(fuzz_input_t *input, unsigned bytes)
{
    size_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | fuzz_byte(input);
    return number;
}

/* A size: most of them small, some at the borders between kinds of blocks, a few that cannot be
 * had. */
static inline size_t fuzz_size(fuzz_input_t *input)
{
    static const size_t borders[] = {0,
                                     1024,
                                     64 * KIB,
                                     128 * KIB,
                                     2 * MIB,
                                     4 * MIB,
                                     SIZE_MAX / 2,
                                     SIZE_MAX,
                                     4 * KIB,
                                     16 * KIB,
                                     MIB,
                                     2 * MIB - 64 * KIB,
                                     SIZE_MAX - 4095,
                                     32 * KIB,
                                     8,
                                     6 * MIB};
    uint8_t kind = fuzz_byte(input);
    if (kind < 128)
        return (size_t)kind * 8 + (kind & 7);
    if (kind < 192)
        return fuzz_number(input, 2);
    if (kind < 224)
        return fuzz_number(input, 3) % (3 * MIB);
    return borders[kind & 15] + (kind & 16 ? 1 : 0) * (size_t)(int8_t)fuzz_byte(input);
}

/* Runs write_it(context) with the descriptor `fd` leading into memory; returns what was written, of
 * *length bytes and ended by a NUL.  The text lives until the next call. */
static inline const char *fuzz_capture(int fd, void (*write_it)(void *context), void *context,
                                       size_t *length)
{
    static char text[1 << 20];
    static int file = -1;
    if (file < 0)
        file = memfd_create("captured", MFD_CLOEXEC);
    int saved = dup(fd);
    CHECK(file >= 0 && ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0);
    CHECK(saved >= 0 && dup2(file, fd) == fd);
    write_it(context);
    CHECK(dup2(saved, fd) == fd && close(saved) == 0);
    ssize_t got = pread(file, text, sizeof text - 1, 0);
    CHECK(got >= 0);
    text[got] = '\0';
    *length = (size_t)got;
    return text;
}

#endif
