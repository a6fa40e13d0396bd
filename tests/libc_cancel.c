/*
 * Cancellation: no call of the malloc family is a cancellation point, also where it has something
 * to say or reads a file; run with LD_PRELOAD=libhakmem.so.  Each case has a process of its own, in
 * which a thread with a cancellation pending makes the call.
 */
#include "test.h"

#include <malloc.h>
#include <signal.h>

static void *(*volatile v_malloc)(size_t) = malloc;
static void (*volatile v_free)(void *) = free;

static bool came_back; /* written by the thread, read after it was joined */

static void *then_say(void)
{
    came_back = true;
    pthread_testcancel();
    return NULL;
}

static void *print_statistics(void *unused)
{
    (void)unused;
    CHECK(pthread_cancel(pthread_self()) == 0);
    malloc_stats();
    return then_say();
}

static void *free_badly(void *local)
{
    CHECK(pthread_cancel(pthread_self()) == 0);
    v_free(local);
    return then_say();
}

static void *allocate(void *unused)
{
    enum { COUNT = 100 };
    static void *blocks[COUNT];
    (void)unused;
    CHECK(pthread_cancel(pthread_self()) == 0);
    for (size_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < COUNT; i++)
            CHECK((blocks[i] = v_malloc((size_t)16 << (i + round) % 17)) != NULL);
        for (size_t i = 0; i < COUNT; i++)
            v_free(blocks[i]);
        (void)malloc_trim(0);
    }
    return then_say();
}

static void *end_process(void *unused)
{
    (void)unused;
    CHECK(pthread_cancel(pthread_self()) == 0);
    exit(0);
}

/* The same program again, since options are read when the library is loaded. */
static void *end_process_with_report(void *unused)
{
    (void)unused;
    CHECK(setenv("HAKMEM_STATS", "1", 1) == 0);
    CHECK(setenv("HAKMEM_STATS_FILE", "/proc/self/fd/2", 1) == 0);
    execl("/proc/self/exe", "libc_cancel", "end", (char *)NULL);
    CHECK(!"reached");
    return NULL;
}

static void run_thread(void *(*body)(void *))
{
    char local[64];
    pthread_t thread;
    void *result;
    came_back = false;
    CHECK(pthread_create(&thread, NULL, body, local + 16) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(came_back && result == PTHREAD_CANCELED);
}

static void *(*current)(void *);

static void run_current(void)
{
    run_thread(current);
}

/* What the case writes to standard error goes to text; the result is the child's status. */
static int run_case(void *(*body)(void *), char *text, size_t text_bytes)
{
    current = body;
    return test_child_says(run_current, text, text_bytes);
}

int main(int argc, char **argv)
{
    static char text[1 << 16];
    (void)argv;
    if (argc > 1)
        run_thread(end_process);
    test_require_preload();
    int status = run_case(print_statistics, text, sizeof text);
    CHECKF(status == 0 && strstr(text, "= resident\n") != NULL, " (%x: %s)", status, text);

    status = run_case(free_badly, text, sizeof text);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
               strstr(text, "hakmem: invalid free of 0x") != NULL,
           " (%x: %s)", status, text);

    status = run_case(allocate, text, sizeof text);
    CHECKF(status == 0 && text[0] == '\0', " (%x: %s)", status, text);

    status = run_case(end_process_with_report, text, sizeof text);
    CHECKF(status == 0 && strstr(text, "= resident\n") != NULL, " (%x: %s)", status, text);
    return 0;
}
