#include "misuse.h"

int main(void)
{
    hak_heap_t *heap = hak_heap_create();
    CHECK(heap != NULL);
    void *block = misuse_announce(t_heap_malloc(heap, 100));
    t_free(block);
    return t_usable_size(block) == 0;
}
