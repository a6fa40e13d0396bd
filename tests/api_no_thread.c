/*
 * The system refuses a thread where the housekeeper is asked for: the program goes on without one,
 * the function says why, and a later call starts it.
 *
 * By the function, and by HAKMEM_HOUSEKEEPER=1 in a process of its own.
 */
#include "housekeepers.h"

#include <hakmem/hakmem.h>
#include <signal.h>
#include <sys/mman.h>

static bool refuse;
static int refused, made;

/* The library's: the test makes no thread itself. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                   void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *address = dlsym(RTLD_NEXT, "pthread_create");
    CHECK(address != NULL);
    memcpy(&real, &address, sizeof real);
    if (refuse) {
        refused++;
        errno = EPERM; /* as a failed system call behind it may leave it */
        return EAGAIN;
    }
    made++;
    return real(thread, attributes, body, argument);
}

/* Many slow paths: more blocks than caches hold. */
static void work(void)
{
    static void *blocks[20000];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = hak_malloc(i % 3000);
        CHECK(blocks[i] != NULL);
        test_fill(blocks[i], i % 3000, i);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        CHECK_PATTERN(blocks[i], i % 3000, i % 3000, i);
        hak_free(blocks[i]);
    }
    CHECK(hak_check() == 0);
}

static void check_no_signal_is_blocked(void)
{
    sigset_t blocked;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    for (int number = 1; number < SIGRTMIN; number++)
        CHECKF(sigismember(&blocked, number) == 0, " (%d)", number);
}

static void check_starts_later(void)
{
    refuse = false;
    errno = 1234;
    CHECK(hak_housekeeper_start() == 0 && errno == 1234 && made == 1);
    await_housekeepers(1);
    work();
    hak_housekeeper_stop();
    await_housekeepers(0);
    CHECK(hak_check() == 0);
}

static void by_function(void)
{
    for (int round = 1; round <= 3; round++) {
        errno = 1234;
        CHECK(hak_housekeeper_start() == EAGAIN && errno == 1234 && refused == round);
        check_no_signal_is_blocked();
        work();
    }
    CHECK(count_housekeepers() == 0);
    check_starts_later();
}

/* It is tried once, and a line says that it failed. */
static void by_option(void)
{
    char said[4096];
    int file = memfd_create("stderr", MFD_CLOEXEC), usual = dup(STDERR_FILENO);
    CHECK(file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    errno = 1234;
    work();
    int error = errno;
    CHECK(dup2(usual, STDERR_FILENO) >= 0);
    CHECK(error == 1234 && refused == 1 && made == 0 && count_housekeepers() == 0);
    ssize_t got = pread(file, said, sizeof said - 1, 0);
    said[got > 0 ? got : 0] = '\0';
    CHECKF(strcmp(said, "hakmem: the housekeeper thread could not be started: memory goes back as "
                        "without it\n") == 0,
           " ('%s')", said);
    check_no_signal_is_blocked();
    check_starts_later();
}

int main(int argc, char **argv)
{
    refuse = true;
    if (argc > 1) {
        by_option();
        return 0;
    }
    by_function();
    CHECK(setenv("HAKMEM_HOUSEKEEPER", "1", 1) == 0);
    execl("/proc/self/exe", argv[0], "by_option", (char *)NULL);
    CHECKF(false, " (execl: %s)", strerror(errno));
}
