/*
 * For hostile programs that are alike: one file with many cases.  CASE(run_case) { ... } is what
 * one program does; the name is the program's argument, and a program of its own in hostile.txt.
 * hostile.py finds the cases by their CASE at the start of a line.
 */
#ifndef HAKMEM_HOSTILE_CASES_H
#define HAKMEM_HOSTILE_CASES_H

#include "hostile.h"

typedef int hostile_run_t(void);

enum { CASES_MAX = 64, UNKNOWN_CASE = 2 };

static struct {
    const char *name;
    hostile_run_t *run;
} hostile_cases[CASES_MAX];

/* Registered before main, so that nothing has to be listed twice. */
#define CASE(run_case)                                                                             \
    static int run_case(void);                                                                     \
    __attribute__((constructor)) static void register_##run_case(void)                             \
    {                                                                                              \
        int i = 0;                                                                                 \
        while (hostile_cases[i].run != NULL)                                                       \
            i++;                                                                                   \
        hostile_cases[i].name = #run_case;                                                         \
        hostile_cases[i].run = run_case;                                                           \
    }                                                                                              \
    static int run_case(void)

/* C++'s operators, if the allocator or somebody else has them. */
__attribute__((weak)) void *operator_new(size_t size) __asm__("_Znwm");
__attribute__((weak)) void *operator_new_array(size_t size) __asm__("_Znam");
__attribute__((weak)) void operator_delete(void *block) __asm__("_ZdlPv");
__attribute__((weak)) void operator_delete_array(void *block) __asm__("_ZdaPv");
__attribute__((weak)) void operator_delete_sized(void *block, size_t size) __asm__("_ZdlPvm");
__attribute__((weak)) void
operator_delete_aligned(void *block, size_t alignment) __asm__("_ZdlPvSt11align_val_t");
__attribute__((weak)) void free_sized(void *block, size_t size);
__attribute__((weak)) void free_aligned_sized(void *block, size_t alignment, size_t size);

int main(int argc, char **argv)
{
    for (int i = 0; i < CASES_MAX && hostile_cases[i].run != NULL; i++) {
        if (argc > 1 && strcmp(argv[1], hostile_cases[i].name) == 0)
            return hostile_cases[i].run();
    }
    return UNKNOWN_CASE;
}

#endif
