/*
 * field: runs one test of what users of allocators suffer from, under the allocator that LD_PRELOAD
 * has put in place, and prints its figures on one line.  Alone it lists the tests.
 *
 * usage: field TEST [ARGUMENT]
 *
 * Exit status: 0; 2 usage; 3 the allocator gave no memory.  What a test finds, a hang included, is
 * in its line and not in the exit status.
 */
#include "field.h"

static const struct test {
    const char *name;
    void (*run)(const char *argument);
    const char *what;
} tests[] = {
    {"idle_return", field_idle_return,
     "[seconds] RSS after main freed what 4 workers made, all idle; malloc_trim; workers' exit"},
    {"idle_threads", field_idle_threads,
     "[threads] RSS of each idle thread that allocated and freed 64 sizes; RSS after their exit"},
    {"realloc_growth", field_realloc_growth, "[MiB] one block grown by half a step: ms, peak RSS"},
    {"fork_storm", field_fork_storm, "[forks] of a process with 3 busy threads: hung children"},
    {"trivial", field_trivial, "VmSize and RSS of a program that allocates one block"},
    {"limit", field_limit, "[MiB] the same program under ulimit -v"},
    {"startup", field_startup, "[starts] microseconds to run /bin/true"},
    {"library", field_library, "PATH static TLS bytes of a library, and whether dlopen takes it"},
    {"double_free", field_double_free, "free(p); free(p): what comes of it"},
    {"free_stack", field_free_stack, "free of an address on the stack: what comes of it"},
};

enum { TESTS = sizeof tests / sizeof tests[0] };

int main(int argc, char **argv)
{
    for (int i = 0; argc > 1 && argc <= 3 && i < TESTS; i++)
        if (strcmp(argv[1], tests[i].name) == 0) {
            tests[i].run(argc > 2 ? argv[2] : NULL);
            return 0;
        }
    fprintf(stderr, "usage: field TEST [ARGUMENT]\n");
    for (int i = 0; i < TESTS; i++)
        fprintf(stderr, "  %-15s %s\n", tests[i].name, tests[i].what);
    return EXIT_USAGE;
}
