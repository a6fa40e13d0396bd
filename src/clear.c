/*
 * clear: see clear.h.
 */
#include "clear.h"

#include <string.h>

#include "os.h"

/* SAMPLES pages of a block are looked at first.  If more than TOUCHED_MOST of them have content, it
 * is faster to write to all pages than to fault them in again.  Each page looked at that nobody has
 * touched is a page fault, too: in smaller blocks these cost as much as writing. */
enum { SAMPLES = 16, TOUCHED_MOST = 2, BYTES_MIN = 512 << 10 };

static bool is_zero(const char *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

/* Whether hardly any of the pages, out of all parts of the block, has content. */
static bool seems_sparse(const char *block, size_t bytes)
{
    size_t page_bytes = hk_os_page_bytes();
    size_t pages = bytes / page_bytes;
    unsigned touched = 0;
    for (size_t i = 0; i < SAMPLES && touched <= TOUCHED_MOST; i++) {
        touched += !is_zero(block + i * pages / SAMPLES * page_bytes, page_bytes);
    }
    return touched <= TOUCHED_MOST;
}

void *hk_clear(void *block, size_t bytes)
{
    size_t whole = bytes & ~(hk_os_page_bytes() - 1);
    size_t zeroed =
        bytes >= BYTES_MIN && seems_sparse(block, bytes) && hk_os_zero(block, whole) ? whole : 0;
    memset((char *)block + zeroed, 0, bytes - zeroed);
    return block;
}
