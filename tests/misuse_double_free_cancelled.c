/*
 * Somebody has cancelled the thread, which no line and no end of the process may wait behind.
 */
#include "misuse.h"

static void *free_twice(void *unused)
{
    (void)unused;
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL) == 0);
    CHECK(pthread_cancel(pthread_self()) == 0);
    void *block = misuse_announce(misuse_block(200));
    CHECK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL) == 0);
    t_free(block);
    t_free(block);
    return NULL;
}

int main(void)
{
    test_join(test_thread(free_twice, NULL));
    return misuse_survived();
}
