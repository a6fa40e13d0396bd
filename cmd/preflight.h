/*
 * HAKMEM's command: can the library be preloaded into this program?
 */
#ifndef CMD_PREFLIGHT_H
#define CMD_PREFLIGHT_H

/* Exit statuses of the command itself, as env, nohup and their like have them. */
enum {
    STATUS_CANNOT_PRELOAD = 125, /* also: bad usage, no library */
    STATUS_NOT_EXECUTABLE = 126,
    STATUS_NOT_FOUND = 127,
};

/* Finds program on PATH, if its name holds no slash, and checks that library can be preloaded into
 * it, or into the interpreter of a script.  Returns 0 and sets *path, which the caller owns; or
 * says why not on stderr and returns the status to exit with. */
int preflight_program(const char *program, const char *library, char **path);

/* The same for the library itself: it must be a shared object, and HAKMEM as far as can be seen: of
 * one of another word size or byte order it cannot. */
int preflight_library(const char *library);

#endif
