/*
 * clear: see clear.h.
 */
#include "clear.h"

#include <string.h>

#include "os.h"

/* SAMPLES pages are looked at first.  If more than TOUCHED_MOST of them have content, it is faster
 * to write to all pages. */
enum { SAMPLES = 64, TOUCHED_MOST = 8 };

static bool is_zero(const char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Whether hardly any of the pages, out of all parts of the block, has content. */
static bool seems_sparse(const char *block, size_t pages, size_t page_bytes)
{
    unsigned touched = 0;
    for (size_t i = 0; i < SAMPLES && touched <= TOUCHED_MOST; i++) {
        touched += !is_zero(block + i * pages / SAMPLES * page_bytes, page_bytes);
    }
    return touched <= TOUCHED_MOST;
}

void hk_clear_sparse(void *block, size_t bytes)
{
    size_t page_bytes = hk_os_page_bytes();
    size_t pages = bytes / page_bytes;
    char *at = block;
    if (pages >= SAMPLES && seems_sparse(at, pages, page_bytes)) {
        for (; pages > 0; pages--, at += page_bytes) {
            if (!is_zero(at, page_bytes)) {
                memset(at, 0, page_bytes);
            }
        }
    }
    memset(at, 0, bytes - (size_t)(at - (char *)block));
}
