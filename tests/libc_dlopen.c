/*
 * The library loaded by dlopen into a program that does not know it: usable through dlsym beside
 * the system's malloc, by threads older and younger than it, after dlclose, and in a forked child.
 * Runs itself again without LD_PRELOAD.
 *
 *     libc_dlopen                 under LD_PRELOAD, or with HAKMEM_LIB set
 *     libc_dlopen /path/libhakmem.so
 */
#include "test.h"

static void *(*h_malloc)(size_t);
static void *(*h_realloc)(void *, size_t);
static void (*h_free)(void *);
static size_t (*h_usable_size)(const void *);
static size_t (*h_check)(void);
static int (*h_version)(void);
static pthread_barrier_t barrier;

static void *find(void *handle, const char *name)
{
    void *address = dlsym(handle, name);
    CHECKF(address != NULL, " (%s)", name);
    return address;
}

static void use(uint64_t seed)
{
    enum { COUNT = 300 };
    void *blocks[COUNT];
    test_rng_t rng = test_rng(seed);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + test_log_size(&rng, i % 50 == 0 ? 22 : 13);
        blocks[i] = h_malloc(size);
        CHECK(blocks[i] != NULL);
        CHECK(h_usable_size(blocks[i]) >= size);
        test_fill(blocks[i], size, i);
        blocks[i] = h_realloc(blocks[i], size + size / 2);
        CHECK(blocks[i] != NULL);
        CHECK_PATTERN(blocks[i], size, size, i);
        free(strdup("the system's malloc is at work too"));
    }
    for (size_t i = 0; i < COUNT; i++)
        h_free(blocks[i]);
}

static void *older_thread(void *argument)
{
    pthread_barrier_wait(&barrier); /* the library is there now */
    pthread_barrier_wait(&barrier);
    use((uintptr_t)argument);
    pthread_barrier_wait(&barrier); /* dlclose */
    pthread_barrier_wait(&barrier);
    use((uintptr_t)argument + 1);
    return NULL;
}

static void *younger_thread(void *argument)
{
    use((uintptr_t)argument);
    return NULL;
}

static int loaded_by_dlopen(const char *path)
{
    CHECKF(strstr(test_origin("malloc"), "libhakmem") == NULL, " (malloc is already from '%s')",
           test_origin("malloc"));
    pthread_t older[3], younger[3];
    CHECK(pthread_barrier_init(&barrier, NULL, TEST_COUNT(older) + 1) == 0);
    for (size_t i = 0; i < TEST_COUNT(older); i++)
        older[i] = test_thread(older_thread, (void *)(i * 10));
    pthread_barrier_wait(&barrier);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECKF(handle != NULL, " (%s)", dlerror());
    *(void **)(void *)&h_malloc = find(handle, "hak_malloc");
    *(void **)(void *)&h_realloc = find(handle, "hak_realloc");
    *(void **)(void *)&h_free = find(handle, "hak_free");
    *(void **)(void *)&h_usable_size = find(handle, "hak_usable_size");
    *(void **)(void *)&h_check = find(handle, "hak_check");
    *(void **)(void *)&h_version = find(handle, "hak_version");
    CHECK(h_version() > 0);
    CHECK(strstr(test_origin("malloc"), "libhakmem") == NULL);
    pthread_barrier_wait(&barrier);
    use(1);
    for (size_t i = 0; i < TEST_COUNT(younger); i++) {
        younger[i] = test_thread(younger_thread, (void *)(i * 7));
    }
    for (size_t i = 0; i < TEST_COUNT(younger); i++)
        test_join(younger[i]);
    CHECK(h_check() == 0);
    void *kept = h_malloc(1000);
    CHECK(kept != NULL);
    test_fill(kept, 1000, 5);
    pthread_barrier_wait(&barrier);
    /* The library stays, since threads' ends and blocks still need it. */
    CHECK(dlclose(handle) == 0);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < TEST_COUNT(older); i++)
        test_join(older[i]);
    CHECK_PATTERN(kept, 1000, 1000, 5);
    h_free(kept);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECKF(handle != NULL, " (%s)", dlerror());
    CHECK(find(handle, "hak_malloc") == *(void **)(void *)&h_malloc);
    use(2);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(60);
        use(3);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECKF(status == 0, " (status 0x%x)", (unsigned)status);
    CHECK(h_check() == 0);
    puts("libc_dlopen: ok");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return loaded_by_dlopen(argv[1]);
    const char *path = getenv("HAKMEM_LIB");
    if (path == NULL || path[0] == 0)
        path = test_origin("malloc");
    CHECKF(strstr(path, "hakmem") != NULL,
           " (set HAKMEM_LIB=/path/libhakmem.so; malloc is from '%s')", path);
    char copy[4096];
    CHECK(strlen(path) < sizeof copy);
    strcpy(copy, path);
    CHECK(unsetenv("LD_PRELOAD") == 0);
    execl("/proc/self/exe", argv[0], copy, (char *)NULL);
    CHECKF(false, " (execl: %s)", strerror(errno));
    return 1;
}
