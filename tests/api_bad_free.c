/*
 * Bad frees of small blocks end the process in the very call: each case runs in a child of its own,
 * which says "now" right before the call that must not return, and "too late" after it.
 */
#include "hak_names.h"

#include <signal.h>
#include <sys/resource.h>

static const char DOUBLE[] = "double free of ";
static const char INSIDE[] = "invalid free of ";
static const char FREE_ALREADY[] = ": the block is free already";
static const char INTERIOR[] = ": an interior pointer: no block starts there";

static int said_fd;

static void say(const char *what)
{
    CHECK(write(said_fd, what, strlen(what)) == (ssize_t)strlen(what));
}

static size_t size; /* of the blocks */

/* Runs body in a child: it must say `said` and be aborted with a line that has both parts. */
static void expect_abort(void (*body)(void), const char *said, const char *what, const char *why)
{
    int out[2], err[2];
    CHECK(pipe(out) == 0 && pipe(err) == 0);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        said_fd = out[1];
        CHECK(dup2(err[1], 2) == 2);
        body();
        say(" too late");
        _exit(0);
    }
    int status = 0;
    char output[1024] = {0}, line[4096] = {0};
    CHECK(close(out[1]) == 0 && close(err[1]) == 0);
    for (ssize_t n, at = 0; (n = read(err[0], line + at, sizeof line - 1 - (size_t)at)) > 0;)
        at += n;
    for (ssize_t n, at = 0; (n = read(out[0], output + at, sizeof output - 1 - (size_t)at)) > 0;)
        at += n;
    CHECK(close(out[0]) == 0 && close(err[0]) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
           " (size %zu, status 0x%x, '%s', said '%s')", size, (unsigned)status, line, output);
    CHECKF(strcmp(output, said) == 0, " (said '%s', not '%s'; '%s')", output, said, line);
    CHECKF(strncmp(line, "hakmem: ", 8) == 0 && strstr(line, what) != NULL &&
               strstr(line, why) != NULL && strchr(line, '\n') == line + strlen(line) - 1,
           " ('%s', not '%s...%s')", line, what, why);
}

/* ---- What the cases are run with ---- */

static size_t offset;    /* into one */
static char *blocks[64]; /* live when a case starts */

static void allocate_all(void)
{
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = i % 4 == 3 ? t_calloc(1, size) : t_malloc(size);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, size);
    }
}

static void free_all(void)
{
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        t_free(blocks[i]);
}

/* ---- One thread ---- */

static void twice(void)
{
    t_free(blocks[0]);
    say("now");
    t_free(blocks[0]);
}

static void a_b_a(void)
{
    t_free(blocks[0]);
    t_free(blocks[1]);
    say("now");
    t_free(blocks[0]);
}

/* Where the loaded magazine is full, the slow path looks. */
static void far_apart(void)
{
    enum { OTHERS = 2000 };
    static void *others[OTHERS];
    for (size_t i = 0; i < OTHERS; i++)
        others[i] = t_malloc(size);
    t_free(blocks[0]);
    for (size_t i = 0; i < OTHERS; i++)
        t_free(others[i]);
    say("now");
    t_free(blocks[0]);
}

static void trimmed_between(void)
{
    t_free(blocks[0]);
    (void)hak_trim(0); /* from the magazine into its slab, which has live blocks */
    say("now");
    t_free(blocks[0]);
}

static void malloc_between(void)
{
    t_free(blocks[0]);
    t_free(blocks[1]);
    CHECK(t_malloc(size) == blocks[1]); /* the newest goes first */
    say("now");
    t_free(blocks[0]);
}

static void aligned_twice(void)
{
    void *block = t_aligned_alloc(64, size);
    CHECK(t_aligned_alloc(64, size) != NULL); /* stays: of a block in an empty slab less is said */
    t_free(block);
    t_free(blocks[0]);
    say("now");
    t_free(block);
}

static void realloc_freed(void)
{
    t_free(blocks[0]);
    say("now");
    void *moved = t_realloc(blocks[0], 4 * size);
    say(moved == NULL ? " null" : " moved");
}

static void realloc_freed_in_place(void)
{
    t_free(blocks[0]);
    say("now");
    void *moved = t_realloc(blocks[0], size);
    say(moved == NULL ? " null" : " moved");
}

static void realloc_freed_to_nothing(void)
{
    t_free(blocks[0]);
    say("now");
    (void)!t_realloc(blocks[0], 0);
}

static void usable_size_freed(void)
{
    t_free(blocks[0]);
    say("now");
    say(t_usable_size(blocks[0]) == 0 ? " none" : " some");
}

static void free_sized_freed(void)
{
    t_free(blocks[0]);
    say("now");
    t_free_sized(blocks[0], size);
}

static void moved_by_realloc(void)
{
    CHECK(t_realloc(blocks[0], 40 * size) != blocks[0]);
    say("now");
    t_free(blocks[0]);
}

static void free_inside(void)
{
    say("now");
    t_free(blocks[5] + offset);
}

static void realloc_inside(void)
{
    say("now");
    (void)!t_realloc(blocks[5] + offset, 2 * size);
}

static void usable_size_inside(void)
{
    say("now");
    (void)t_usable_size(blocks[5] + offset);
}

/* ---- Several threads ---- */

static void *free_first(void *argument)
{
    (void)argument;
    t_free(blocks[0]);
    return NULL;
}

static void owner_then_other(void)
{
    t_free(blocks[0]);
    say("now");
    test_join(test_thread(free_first, NULL));
}

static void *free_twice(void *argument)
{
    (void)argument;
    t_free(blocks[0]);
    say("now");
    t_free(blocks[0]);
    return NULL;
}

static void other_twice(void)
{
    test_join(test_thread(free_twice, NULL));
}

static void *free_inside_elsewhere(void *argument)
{
    (void)argument;
    for (size_t i = 10; i < 20; i++) /* its outgoing magazine has room: no slow path looks */
        t_free(blocks[i]);
    say("now");
    t_free(blocks[5] + offset);
    return NULL;
}

static void other_inside(void)
{
    test_join(test_thread(free_inside_elsewhere, NULL));
}

static void *free_a_b_a(void *argument)
{
    (void)argument;
    t_free(blocks[0]);
    t_free(blocks[1]);
    t_free(blocks[0]);
    return NULL;
}

/* malloc takes in what the other thread freed, and finds the block that is there twice before it
 * hands it out twice. */
static void drain(void)
{
    bool seen = false;
    for (int i = 0; i < 100000; i++) {
        bool first = t_malloc(size) == blocks[0];
        CHECK(!first || !seen);
        seen = seen || first;
    }
}

static void other_a_b_a(void)
{
    test_join(test_thread(free_a_b_a, NULL));
    say("now");
    drain();
}

/* Once malloc has handed the block out again, the other's free would be its rightful one: so
 * nothing is allocated here. */
static void other_then_owner(void)
{
    test_join(test_thread(free_first, NULL));
    t_free(blocks[0]); /* what the other freed has not arrived yet */
    say("now");
    (void)hak_trim(0);
}

static void *free_many(void *argument)
{
    (void)argument;
    for (size_t i = 0; i < 20; i++)
        t_free(blocks[i]);
    return NULL;
}

static size_t index_of(const void *block)
{
    size_t i = 0;
    while (i < TEST_COUNT(blocks) && blocks[i] != block)
        i++;
    return i;
}

/* Other threads' frees have arrived when malloc hands one of them out: from then on the owner's
 * free of another one of its magazine is noticed. */
static void other_then_owner_later(void)
{
    test_join(test_thread(free_many, NULL));
    size_t again = TEST_COUNT(blocks);
    for (int i = 0; i < 100000 && again == TEST_COUNT(blocks); i++)
        again = index_of(t_malloc(size));
    CHECK(again < 20);
    say("now");
    t_free(blocks[again == 0 ? 1 : again - 1]); /* the newest goes first */
}

/* A slow malloc of any class takes in what others freed of every class that has a magazine with
 * room. */
static void other_then_owner_of_another_class(void)
{
    for (int i = 0; i < 300; i++) {
        if (i == 100) {                   /* the class is not cold any more, */
            for (int j = 20; j < 40; j++) /* and the other not idle: it has a magazine with room */
                t_free(blocks[j]);
            CHECK(t_malloc(size) != NULL);
            test_join(test_thread(free_many, NULL));
        }
        CHECK(t_malloc(48) != NULL);
    }
    say("now");
    t_free(blocks[0]);
}

/* ---- The end of a thread, and fork ---- */

static void *allocated_late; /* by a thread whose cache is gone */
static pthread_key_t key;

static void free_late(void *argument)
{
    static int rounds;
    if (++rounds < 3) { /* not before everybody's first round is over */
        CHECK(pthread_setspecific(key, argument) == 0);
        return;
    }
    t_free(blocks[0]);
    allocated_late = t_malloc(size);
    CHECK(t_malloc(size) != NULL); /* stays: see aligned_twice */
    t_free(allocated_late);
    if (argument == &key) {
        say("now");
        t_free(blocks[0]);
    } else {
        say("now");
        t_free(allocated_late);
    }
}

static void *end_with(void *argument)
{
    CHECK(pthread_setspecific(key, argument) == 0);
    for (size_t i = 30; i < 40; i++)
        t_free(blocks[i]);
    return NULL;
}

static void twice_after_the_end(void)
{
    CHECK(pthread_key_create(&key, free_late) == 0);
    test_join(test_thread(end_with, &key));
}

static void twice_after_the_end_late(void)
{
    CHECK(pthread_key_create(&key, free_late) == 0);
    test_join(test_thread(end_with, blocks));
}

static void in_a_child(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid != 0) {
        int status = 0;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(!WIFSIGNALED(status) || kill(getpid(), WTERMSIG(status)) == 0);
        return;
    }
    t_free(blocks[0]); /* its parent's block */
    t_free(blocks[1]);
    say("now");
    t_free(blocks[0]);
}

/* ---- All of it ---- */

/* A handler of SIGABRT that allocates, though the free was found to be bad under a lock. */
static void allocate_in_handler(int number)
{
    CHECK(number == SIGABRT && t_malloc(100000) != NULL && t_malloc(10) != NULL);
}

static void expect_abort_with_handler(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        CHECK(close(2) == 0);
        CHECK(signal(SIGABRT, allocate_in_handler) != SIG_ERR);
        hak_heap_t *heap = hak_heap_create();
        char *block = hak_heap_malloc(heap, 100);
        t_free(block);
        t_free(block);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, " (status 0x%x)", (unsigned)status);
}

static void run_offsets(void (*body)(void), const char *what)
{
    for (offset = 1; offset < size; offset += offset < 16 || offset + 16 >= size ? 1 : 16)
        expect_abort(body, "now", what, INTERIOR);
}

int main(void)
{
    static const size_t sizes[] = {16, 64, 200, 1000, 3000, 20000};
    static void (*const doubles[])(void) = {
        twice,
        a_b_a,
        far_apart,
        trimmed_between,
        malloc_between,
        aligned_twice,
        moved_by_realloc,
        realloc_freed_to_nothing,
        owner_then_other,
        other_twice,
        in_a_child,
    };
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        size = sizes[i];
        allocate_all();
        for (size_t j = 0; j < TEST_COUNT(doubles); j++)
            expect_abort(doubles[j], "now", DOUBLE, FREE_ALREADY);
        expect_abort(realloc_freed, "now", "realloc of ", FREE_ALREADY);
        expect_abort(realloc_freed_in_place, "now", "realloc of ", FREE_ALREADY);
        expect_abort(usable_size_freed, "now", "usable size of ", FREE_ALREADY);
        expect_abort(free_sized_freed, "now", DOUBLE, FREE_ALREADY);
        expect_abort(twice_after_the_end, "now", DOUBLE, FREE_ALREADY);
        expect_abort(twice_after_the_end_late, "now", DOUBLE, FREE_ALREADY);
        expect_abort(other_a_b_a, "now", DOUBLE, "free already");
        expect_abort(other_then_owner, "now", DOUBLE, "free already");
        expect_abort(other_then_owner_later, "now", DOUBLE, FREE_ALREADY);
        if (size < 20000) /* of larger ones a magazine holds three */
            expect_abort(other_then_owner_of_another_class, "now", DOUBLE, FREE_ALREADY);
        if (size <= 200) {
            run_offsets(free_inside, INSIDE);
            run_offsets(other_inside, INSIDE);
            run_offsets(realloc_inside, "realloc of ");
            run_offsets(usable_size_inside, "usable size of ");
        }
        free_all();
    }
    expect_abort_with_handler();
    return 0;
}
