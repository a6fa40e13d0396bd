/* A plugin with HAKMEM inside: its heaps are HAKMEM's, malloc is whatever the program has. */
#include <hakmem/hakmem.h>
#include <string.h>

int plugin_use(void);

int plugin_use(void)
{
    hak_heap_t *heap = hak_heap_create();
    char *text = hak_heap_malloc(heap, 1000);
    if (text == NULL) {
        return 0;
    }
    strcpy(text, "plugin");
    hak_heap_destroy(heap);
    hak_free(hak_malloc(100));
    return 1;
}
