/*
 * The last moments: of threads (destructors of thread-specific data in all their rounds, of
 * thread_local objects, frees by a thread whose cache is gone) and of the process; run with
 * LD_PRELOAD=libhakmem.so.
 *
 *     libc_teardown [case]
 */
#include "test.h"
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>

enum { HANG_SECONDS = 100 };

static void *(*volatile v_malloc)(size_t) = malloc;
static void *(*volatile v_realloc)(void *, size_t) = realloc;
static void (*volatile v_free)(void *) = free;

extern int __cxa_thread_atexit_impl(void (*destroy)(void *), void *object, void *library);
extern void *__dso_handle;

static void use_malloc(uint64_t seed)
{
    enum { COUNT = 100 };
    void *blocks[COUNT];
    test_rng_t rng = test_rng(seed);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = test_log_size(&rng, i % 25 == 0 ? 21 : 12);
        blocks[i] = v_malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < COUNT; i += 3) {
        blocks[i] = v_realloc(blocks[i], 700);
        CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < COUNT; i++)
        v_free(blocks[i]);
}

/* ---- pthread_key destructors ---- */

enum { KEYS = 40 };
static pthread_key_t keys[KEYS];
static atomic_int destructor_runs;

typedef struct value {
    size_t key;
    int round;
    void *ballast;
} value_t;

static void set_value(size_t key, int round)
{
    value_t *value = (value_t *)v_malloc(sizeof *value);
    CHECK(value != NULL);
    *value = (value_t){key, round, v_malloc(100 * (key + 1))};
    CHECK(value->ballast != NULL);
    memset(value->ballast, (int)key, 100 * (key + 1));
    CHECK(pthread_setspecific(keys[key], value) == 0);
}

static void destroy_value(void *argument)
{
    value_t *value = (value_t *)argument;
    atomic_fetch_add(&destructor_runs, 1);
    use_malloc(value->key);
    CHECK(test_is_filled_with(value->ballast, (unsigned char)value->key, 100 * (value->key + 1)));
    size_t key = value->key;
    int round = value->round;
    v_free(value->ballast);
    v_free(value);
    /* One round more than there are: what is left over then nobody destroys. */
    if (round < PTHREAD_DESTRUCTOR_ITERATIONS)
        set_value(key, round + 1);
}

static void *with_values(void *argument)
{
    if (argument != NULL)
        use_malloc(1);
    for (size_t i = 0; i < KEYS; i++)
        set_value(i, 1);
    return NULL;
}

static void key_destructors(void)
{
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_key_create(&keys[i], destroy_value) == 0);
    for (size_t i = 0; i < 20; i++)
        test_join(test_thread(with_values, i % 2 == 0 ? NULL : keys));
    CHECKF(atomic_load(&destructor_runs) == 20 * KEYS * PTHREAD_DESTRUCTOR_ITERATIONS, " (%d)",
           atomic_load(&destructor_runs));
    CHECK(test_preloaded_check() == 0);
}

/* A thread whose first allocation of all is in a destructor. */
static pthread_key_t late_key;

static void first_use(void *argument)
{
    (void)argument;
    use_malloc(2);
    atomic_fetch_add(&destructor_runs, 1);
}

static void *only_sets(void *argument)
{
    CHECK(pthread_setspecific(late_key, argument) == 0);
    return NULL;
}

static void first_use_in_destructor(void)
{
    CHECK(pthread_key_create(&late_key, first_use) == 0);
    for (int i = 0; i < 300; i++)
        test_join(test_thread(only_sets, &late_key));
    CHECK(atomic_load(&destructor_runs) == 300);
    CHECK(test_preloaded_check() == 0);
}

/* ---- thread_local objects, and blocks freed when the thread's cache is gone ---- */

static void destroy_object(void *argument)
{
    atomic_fetch_add(&destructor_runs, 1);
    use_malloc(3);
    v_free(argument);
}

static void *with_objects(void *argument)
{
    for (size_t i = 0; i < 10; i++) {
        void *object = v_malloc(50 * (i + 1));
        CHECK(object != NULL);
        CHECK(__cxa_thread_atexit_impl(destroy_object, object, &__dso_handle) == 0);
    }
    if (argument != NULL)
        with_values(NULL);
    return NULL;
}

static void thread_locals(void)
{
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_key_create(&keys[i], destroy_value) == 0);
    for (int i = 0; i < 100; i++)
        test_join(test_thread(with_objects, i % 4 == 0 ? keys : NULL));
    CHECK(atomic_load(&destructor_runs) == 100 * 10 + 25 * KEYS * PTHREAD_DESTRUCTOR_ITERATIONS);
    CHECK(test_preloaded_check() == 0);
}

/* Frees, in the last round, of blocks of the own heap and of others', thousands of them. */
enum { LATE_BLOCKS = 3000 };

typedef struct late {
    int round;
    void *blocks[LATE_BLOCKS];
} late_t;

static void free_late(void *argument)
{
    late_t *late = (late_t *)argument;
    if (++late->round < PTHREAD_DESTRUCTOR_ITERATIONS) {
        CHECK(pthread_setspecific(late_key, late) == 0);
        return;
    }
    for (size_t i = 0; i < LATE_BLOCKS; i++)
        v_free(late->blocks[i]);
    v_free(late);
    atomic_fetch_add(&destructor_runs, 1);
}

static void *keeps_for_late(void *argument)
{
    late_t *late = argument != NULL ? (late_t *)argument : (late_t *)v_malloc(sizeof *late);
    CHECK(late != NULL);
    late->round = 0;
    for (size_t i = 0; i < LATE_BLOCKS; i++) {
        if (argument != NULL && i % 2 == 0)
            continue; /* main's own block is in there */
        late->blocks[i] = v_malloc(i * 7 % 3000);
        CHECK(late->blocks[i] != NULL);
    }
    CHECK(pthread_setspecific(late_key, late) == 0);
    return NULL;
}

static void frees_after_all(void)
{
    CHECK(pthread_key_create(&late_key, free_late) == 0);
    for (int i = 0; i < 30; i++) {
        late_t *late = NULL;
        if (i % 2 == 0) {
            late = (late_t *)v_malloc(sizeof *late);
            CHECK(late != NULL);
            for (size_t j = 0; j < LATE_BLOCKS; j += 2) {
                late->blocks[j] = v_malloc(j % 2000);
                CHECK(late->blocks[j] != NULL);
            }
        }
        test_join(test_thread(keeps_for_late, late));
    }
    CHECK(atomic_load(&destructor_runs) == 30);
    CHECK(test_preloaded_check() == 0);
    struct mallinfo2 info = mallinfo2();
    CHECKF(info.uordblks + info.hblkhd < 32 * MIB, " (%zu bytes in use)",
           info.uordblks + info.hblkhd);
}

/* Blocks that outlive their thread. */
static void *gives_blocks(void *argument)
{
    void **blocks = (void **)argument;
    for (size_t i = 0; i < LATE_BLOCKS; i++) {
        size_t size = i % 500 == 0 ? 400 * KIB : i * 3;
        blocks[i] = v_malloc(size);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], size, i);
    }
    return NULL;
}

static void blocks_outlive_threads(void)
{
    static void *blocks[LATE_BLOCKS];
    for (int round = 0; round < 20; round++) {
        test_join(test_thread(gives_blocks, blocks));
        use_malloc(4);
        for (size_t i = 0; i < LATE_BLOCKS; i++) {
            size_t size = i % 500 == 0 ? 400 * KIB : i * 3;
            CHECK_PATTERN(blocks[i], size, size, i);
            v_free(blocks[i]);
        }
    }
    CHECK(test_preloaded_check() == 0);
}

/* ---- the end of the process ---- */

static void *last_block;

static void at_exit(void)
{
    use_malloc(5);
    v_free(last_block);
    last_block = v_malloc(200);
    CHECK(last_block != NULL);
}

static void *thread_at_exit(void *argument)
{
    (void)argument;
    use_malloc(6);
    return NULL;
}

static void at_exit_with_thread(void)
{
    test_join(test_thread(thread_at_exit, NULL));
    at_exit();
}

__attribute__((destructor)) static void at_destruction(void)
{
    at_exit();
    char *text = strdup("still here");
    CHECK(text != NULL);
    free(text);
}

static void early_entry(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    /* Registered before all others, hence run after them. */
    CHECK(atexit(at_exit) == 0);
    last_block = v_malloc(100);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit_entry)(int, char **, char **) = early_entry;

static void exit_handlers(void)
{
    for (int i = 0; i < 10; i++)
        CHECK(atexit(i % 2 == 0 ? at_exit : at_exit_with_thread) == 0);
    use_malloc(7);
}

static atomic_int at_work;

static void *never_ends(void *argument)
{
    atomic_fetch_add(&at_work, 1);
    for (uint64_t i = (uintptr_t)argument;; i++)
        use_malloc(i);
    return NULL;
}

static void start_detached(void)
{
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_detach(test_thread(never_ends, (void *)(i * 1000))) == 0);
    while (atomic_load(&at_work) < 4)
        use_malloc(8);
}

/* main returns while detached threads allocate, and exit handlers do too. */
static void detached_threads(void)
{
    exit_handlers();
    start_detached();
}

enum { GIVEN = 2000, GIVEN_BYTES = 30000 };
static void *given[GIVEN];
static atomic_bool go;

static void *frees_given(void *argument)
{
    (void)argument;
    while (!atomic_load(&go)) {
    }
    for (size_t i = 0; i < GIVEN; i++)
        v_free(given[i]);
    for (;;)
        (void)pause();
    return NULL;
}

__attribute__((destructor)) static void let_go(void)
{
    atomic_store(&go, true);
}

/* The process ends while a detached thread, which has not used malloc before, frees blocks that it
 * was given.  What they were allocated for is in no order. */
static void first_use_at_exit(void)
{
    for (int i = 0; i < 12; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            test_rng_t rng = test_rng(i);
            for (size_t n = 0; n < GIVEN; n++)
                CHECK((given[n] = v_malloc(GIVEN_BYTES)) != NULL);
            for (size_t n = GIVEN - 1; n > 0; n--) {
                size_t other = test_below(&rng, n + 1);
                void *block = given[n];
                given[n] = given[other];
                given[other] = block;
            }
            CHECK(pthread_detach(test_thread(frees_given, NULL)) == 0);
            exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECKF(status == 0, " (%x)", (unsigned)status);
    }
}

#define RESIZING_CHILD "resizing_child"

static void *resizes(void *argument)
{
    for (unsigned n = 0;; n++)
        CHECK((argument = v_realloc(argument, 20000 + n % 2 * 8000)) != NULL);
    return NULL;
}

static void resizing_child(void)
{
    for (int i = 0; i < 2; i++) {
        void *block = v_malloc(28000);
        CHECK(block != NULL && pthread_detach(test_thread(resizes, block)) == 0);
    }
    (void)usleep(3000);
    exit(0);
}

/* The process ends while threads whose only calls are reallocs in place go on.  With hardening's
 * first level, where the look at the end may come between two steps of one. */
static void resizes_at_exit(void)
{
    for (int i = 0; i < 60; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            CHECK(setenv("HAKMEM_HARDEN", "1", 1) == 0);
            (void)execl("/proc/self/exe", RESIZING_CHILD, RESIZING_CHILD, (char *)NULL);
            _exit(127);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECKF(status == 0, " (%x)", (unsigned)status);
    }
}

static void *calls_exit(void *argument)
{
    pthread_t main_thread = *(pthread_t *)argument;
    test_join(main_thread); /* main has gone through its destructors */
    use_malloc(9);
    exit(0);
}

/* main leaves by pthread_exit with values to destroy; another thread ends the process. */
static void main_exits_first(void)
{
    static pthread_t main_thread;
    main_thread = pthread_self();
    for (size_t i = 0; i < KEYS; i++)
        CHECK(pthread_key_create(&keys[i], destroy_value) == 0);
    with_objects(keys);
    exit_handlers();
    CHECK(pthread_detach(test_thread(calls_exit, &main_thread)) == 0);
    pthread_exit(NULL);
}

static void *exits_process(void *argument)
{
    (void)argument;
    use_malloc(10);
    exit(0);
}

static void thread_calls_exit(void)
{
    start_detached();
    exit_handlers();
    test_thread(exits_process, NULL);
    for (;;)
        use_malloc(11);
}

/* Threads cancelled wherever they are. */
static void *until_cancelled(void *argument)
{
    for (uint64_t i = (uintptr_t)argument;; i++) {
        use_malloc(i);
        pthread_testcancel();
    }
    return NULL;
}

static void cancelled_threads(void)
{
    for (size_t i = 0; i < 100; i++) {
        pthread_t thread = test_thread(until_cancelled, (void *)i);
        use_malloc(i);
        CHECK(pthread_cancel(thread) == 0);
        void *result = NULL;
        CHECK(pthread_join(thread, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    CHECK(test_preloaded_check() == 0);
}

int main(int argc, char **argv)
{
    static const test_case_t cases[] = {
        {"key_destructors", key_destructors, 0},
        {"first_use_in_destructor", first_use_in_destructor, 0},
        {"thread_locals", thread_locals, 0},
        {"frees_after_all", frees_after_all, 0},
        {"blocks_outlive_threads", blocks_outlive_threads, 0},
        {"exit_handlers", exit_handlers, 0},
        {"detached_threads", detached_threads, 0},
        {"first_use_at_exit", first_use_at_exit, 0},
        {"resizes_at_exit", resizes_at_exit, 0},
        {"main_exits_first", main_exits_first, 0},
        {"thread_calls_exit", thread_calls_exit, 0},
        {"cancelled_threads", cancelled_threads, 0},
    };
    test_require_preload();
    if (argc > 1 && strcmp(argv[1], RESIZING_CHILD) == 0)
        resizing_child();
    return test_cases(argc, argv, cases, TEST_COUNT(cases), HANG_SECONDS);
}
