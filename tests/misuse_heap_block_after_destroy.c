#include "misuse.h"

int main(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    void *block = misuse_announce(t_heap_malloc(heap, 8 * MIB));
    hak_heap_destroy(heap);
    t_free(block);
    return 0;
}
