/*
 * The reports: an input brings the allocator into some state; the JSON must then be JSON (RFC
 * 8259), with each name once and every figure that hak_stats_get has; the text must be lines of a
 * figure and what it means; and a caller's structure of any size is filled as far as it goes and no
 * further.
 */
#include "fuzz.h"

#include <hakmem/hakmem.h>

#include "fake_os.h"
#include "stats.h"

enum { SLOTS = 64, NAMES_MAX = 256, NESTING_MAX = 8 };

static void *blocks[SLOTS];

/* ---- A strict reader of JSON ---- */

typedef struct json {
    const char *at;
    struct {
        const char *start;
        size_t length;
        uint64_t number;
    } names[NAMES_MAX]; /* of the outermost object, and the number that is its value */
    size_t count;
    unsigned depth;
} json_t;

static void skip_space(json_t *json)
{
    json->at += strspn(json->at, " \t\r\n");
}

static void expect(json_t *json, char c)
{
    skip_space(json);
    CHECKF(*json->at == c, " ('%c' expected at '%.40s')", c, json->at);
    json->at++;
}

static void read_string(json_t *json, const char **start, size_t *length)
{
    expect(json, '"');
    *start = json->at;
    for (; *json->at != '"'; json->at++) {
        CHECKF((unsigned char)*json->at >= 0x20, " (a control character in a string: '%.40s')",
               *start);
        if (*json->at == '\\') {
            json->at++;
            CHECKF(*json->at != '\0' && strchr("\"\\/bfnrtu", *json->at) != NULL, " ('%.40s')",
                   *start);
            if (*json->at == 'u')
                for (int i = 0; i < 4; i++) {
                    json->at++;
                    CHECK(*json->at != '\0' && strchr("0123456789abcdefABCDEF", *json->at) != NULL);
                }
        }
    }
    *length = (size_t)(json->at - *start);
    json->at++;
}

static uint64_t read_number(json_t *json)
{
    const char *start = json->at;
    uint64_t number = 0;
    CHECKF(*start >= '0' && *start <= '9', " ('%.40s')", start); /* no figure is negative */
    for (; *json->at >= '0' && *json->at <= '9'; json->at++) {
        CHECK(!__builtin_mul_overflow(number, 10, &number));
        CHECK(!__builtin_add_overflow(number, (uint64_t)(*json->at - '0'), &number));
    }
    CHECKF(json->at - start == 1 || *start != '0', " ('%.40s')", start);
    if (*json->at == '.') {
        json->at++;
        CHECK(*json->at >= '0' && *json->at <= '9');
        json->at += strspn(json->at, "0123456789");
    }
    return number;
}

static uint64_t read_value(json_t *json);

static void read_object(json_t *json)
{
    expect(json, '{');
    bool outermost = ++json->depth == 1;
    CHECK(json->depth < NESTING_MAX);
    skip_space(json);
    for (bool first = true; *json->at != '}'; first = false) {
        const char *start;
        size_t length;
        if (!first)
            expect(json, ',');
        skip_space(json);
        read_string(json, &start, &length);
        expect(json, ':');
        uint64_t number = read_value(json);
        if (outermost) {
            for (size_t i = 0; i < json->count; i++)
                CHECKF(json->names[i].length != length ||
                           memcmp(json->names[i].start, start, length) != 0,
                       " (twice: '%.*s')", (int)length, start);
            CHECK(json->count < NAMES_MAX);
            json->names[json->count].start = start;
            json->names[json->count].length = length;
            json->names[json->count++].number = number;
        }
        skip_space(json);
    }
    json->at++;
    json->depth--;
}

static void read_array(json_t *json)
{
    expect(json, '[');
    CHECK(++json->depth < NESTING_MAX);
    skip_space(json);
    for (bool first = true; *json->at != ']'; first = false) {
        if (!first)
            expect(json, ',');
        (void)read_value(json);
        skip_space(json);
    }
    json->at++;
    json->depth--;
}

/* Any value; the number, if it is one. */
static uint64_t read_value(json_t *json)
{
    static const char *const words[] = {"true", "false", "null"};
    const char *start;
    size_t length;
    skip_space(json);
    switch (*json->at) {
    case '{': read_object(json); return 0;
    case '[': read_array(json); return 0;
    case '"': read_string(json, &start, &length); return 0;
    default: break;
    }
    for (size_t i = 0; i < TEST_COUNT(words); i++) {
        if (strncmp(json->at, words[i], strlen(words[i])) == 0) {
            json->at += strlen(words[i]);
            return 0;
        }
    }
    return read_number(json);
}

static uint64_t named(const json_t *json, const char *name)
{
    for (size_t i = 0; i < json->count; i++)
        if (json->names[i].length == strlen(name) &&
            memcmp(json->names[i].start, name, strlen(name)) == 0)
            return json->names[i].number;
    CHECKF(false, " (no '%s' in the JSON)", name);
}

/* ---- The reports ---- */

static void write_json(void *context)
{
    (void)context;
    CHECK(hak_stats_json(1) == 0);
}

static void write_text(void *context)
{
    (void)context;
    CHECK(hak_stats_print(1) == 0);
}

static void check_json(void)
{
    static json_t json;
    hak_stats_t stats;
    size_t length;
    json = (json_t){.at = fuzz_capture(1, write_json, NULL, &length)};
    CHECK(strlen(json.at) == length && length > 0 && json.at[length - 1] == '\n');
    read_object(&json);
    skip_space(&json);
    CHECKF(*json.at == '\0', " (behind the end: '%.40s')", json.at);
    CHECK(hak_stats_get(&stats, sizeof stats) == 0);
#define X(field, is_bytes, doc)                                                                    \
    CHECKF(named(&json, #field) == stats.field, " (%s: %llu and %llu)", #field,                    \
           (unsigned long long)named(&json, #field), (unsigned long long)stats.field);
    HK_STATS_TABLE(X)
#undef X
    CHECK(stats.committed_bytes <= stats.mapped_bytes);
    CHECK(stats.in_use_bytes + stats.depot_bytes + stats.slab_free_bytes + stats.pool_warm_bytes <=
          stats.committed_bytes);
}

static void check_text(void)
{
    size_t length;
    const char *text = fuzz_capture(1, write_text, NULL, &length);
    CHECK(strlen(text) == length && length > 0 && text[length - 1] == '\n');
    CHECK(strncmp(text, "HAKMEM ", 7) == 0);
    size_t lines = 0;
    for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1, lines++)
        for (const char *c = at; *c != '\n'; c++)
            CHECKF((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f, " ('%.80s')", at);
    CHECK(lines > 5);
}

static void check_sizes(size_t bytes)
{
    unsigned char raw[2 * sizeof(hak_stats_t) + 1];
    hak_stats_t whole;
    bytes %= sizeof raw;
    memset(raw, 0xa5, sizeof raw);
    int result = hak_stats_get((hak_stats_t *)(void *)raw, bytes);
    CHECK(hak_stats_get(&whole, sizeof whole) == 0);
    CHECK(result == (bytes < 8 ? EINVAL : 0));
    size_t filled = bytes < 8 ? 0 : bytes;
    size_t known = filled < sizeof whole ? filled : sizeof whole;
    CHECK(memcmp(raw, &whole, known) == 0);
    CHECK(test_is_filled_with(raw + known, 0, filled - known));
    CHECK(test_is_filled_with(raw + filled, 0xa5, sizeof raw - filled));
}

/* Where nothing can be written the answer is an errno value. */
static void check_errors(void)
{
    static int full = -1;
    if (full < 0)
        full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0);
    CHECK(hak_stats_json(full) == ENOSPC && hak_stats_print(full) == ENOSPC);
    CHECK(hak_stats_json(-1) == EBADF && hak_stats_print(-1) == EBADF);
}

static void *free_some(void *argument)
{
    size_t first = *(const uint8_t *)argument;
    for (size_t i = 0; i < 16; i++) {
        hak_free(blocks[(first + i) % SLOTS]);
        blocks[(first + i) % SLOTS] = NULL;
    }
    return NULL;
}

static void step(fuzz_input_t *input)
{
    uint8_t what = fuzz_byte(input);
    uint8_t which = fuzz_byte(input);
    void **block = &blocks[which % SLOTS];
    switch (what % 16) {
    case 0: check_json(); break;
    case 1: check_text(); break;
    case 2: check_sizes(fuzz_number(input, 2)); break;
    case 3: check_errors(); break;
    case 4: (void)hak_trim((size_t)which << 16); break;
    case 5: fake_os_advance((uint64_t)which * 16); break;
    case 6: test_join(test_thread(free_some, &which)); break;
    case 7: fake_os_fail_after(which); break;
    case 8: fake_os_heal(); break;
    default: {
        size_t size = fuzz_size(input) % (4 * MIB);
        hak_free(*block);
        *block = hak_malloc(size);
        break;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    hak_free(hak_malloc(1));
    fake_os.main_thread = false; /* this one has its cache now; all others' end */
    while (input.left > 0)
        step(&input);
    fake_os_heal();
    check_json();
    check_text();
    for (size_t i = 0; i < SLOTS; i++) {
        hak_free(blocks[i]);
        blocks[i] = NULL;
    }
    return 0;
}
