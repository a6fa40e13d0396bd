/*
 * field: small tests of what users of allocators suffer from; not speed, but what stays resident,
 * what start-up costs, what fork does.  Each test prints one line of name=value pairs.
 */
#ifndef FIELD_H
#define FIELD_H

#include "bench.h"

/* Each runs one test; the argument is what stands behind the test's name, or NULL. */
void field_idle_return(const char *seconds);
void field_idle_threads(const char *threads);
void field_realloc_growth(const char *mib);
void field_fork_storm(const char *forks);
void field_trivial(const char *unused);
void field_limit(const char *mib);
void field_startup(const char *starts);
void field_library(const char *path);
void field_double_free(const char *unused);
void field_free_stack(const char *unused);

/* A number out of a test's argument, or the default. */
static inline long field_number(const char *text, long otherwise)
{
    long n = text ? atol(text) : otherwise;
    return n > 0 ? n : otherwise;
}

#endif
