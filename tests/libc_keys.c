/*
 * A program that uses a thread key before it has made it: the allocator's own key is not to be
 * reached by it; run with LD_PRELOAD=libhakmem.so.
 */
#include "test.h"

static void *(*volatile v_malloc)(size_t) = malloc;
static void (*volatile v_free)(void *) = free;

static pthread_key_t key; /* not made at first: 0 */

static void *use_unmade_key(void *value)
{
    v_free(v_malloc(100));
    CHECK(pthread_getspecific(key) == NULL);
    CHECK(pthread_setspecific(key, value) == EINVAL);
    return NULL;
}

static int destructor_runs; /* threads run one after the other */

static void destroy(void *value)
{
    v_free(value);
    destructor_runs++;
}

static void *use_made_key(void *unused)
{
    (void)unused;
    CHECK(pthread_setspecific(key, v_malloc(100)) == 0);
    return NULL;
}

int main(void)
{
    enum { THREADS = 10 };
    test_require_preload();
    use_unmade_key(&key);
    for (int i = 0; i < THREADS; i++)
        test_join(test_thread(use_unmade_key, &key));

    CHECK(pthread_key_create(&key, destroy) == 0);
    for (int i = 0; i < THREADS; i++)
        test_join(test_thread(use_made_key, NULL));
    CHECK(destructor_runs == THREADS);
    CHECK(test_preloaded_check() == 0);
    return 0;
}
