#include "misuse.h"

int main(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    CHECK(t_heap_malloc(heap, 100) != NULL);
    misuse_announce(heap);
    hak_heap_t *volatile again = heap; /* or the compiler sees it */
    hak_heap_destroy(heap);
    hak_heap_destroy(again);
    return 0;
}
