/*
 * Any environment: the first byte of the input says whether entries get the prefix, the rest are
 * the entries, separated by NUL.  The options must be what an independent reading of the table
 * says, and each complaint one line of printable text.
 */
#include "fuzz.h"

#include "options.h"

enum { ENTRIES_MAX = 64 };

static hk_options_t standard;
static bool standard_known;

/* A whole decimal number, K, M or G behind it. */
static bool read_number(const char *text, uint64_t *number)
{
    unsigned __int128 value = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (unsigned)(*at - '0');
        if (value > UINT64_MAX)
            return false;
    }
    if (at == text)
        return false;
    if (*at == 'K' || *at == 'M' || *at == 'G') {
        value <<= *at == 'K' ? 10 : *at == 'M' ? 20 : 30;
        at++;
    }
    *number = (uint64_t)value;
    return *at == '\0' && value <= UINT64_MAX;
}

static void expect_number(uint64_t *field, uint64_t least, uint64_t most, const char *text)
{
    uint64_t number;
    if (read_number(text, &number) && number >= least && number <= most)
        *field = number;
}

/* A number of bytes, or 1% to 100%: a whole decimal number without a unit. */
static void expect_amount(hk_amount_t *field, const char *text)
{
    uint64_t number;
    size_t length = strlen(text), digits = strspn(text, "0123456789");
    if (digits > 0 && digits + 1 == length && text[digits] == '%') {
        unsigned long percent = strtoul(text, NULL, 10); /* ULONG_MAX if it is more */
        if (percent >= 1 && percent <= 100)
            *field = (hk_amount_t){0, percent};
    } else if (read_number(text, &number)) {
        *field = (hk_amount_t){number, 0};
    }
}

/* None if it is empty, and no change if it is too long. */
static void expect_text(const char **field, const char *text)
{
    if (strlen(text) < HK_OPTION_TEXT_BYTES)
        *field = *text != '\0' ? text : NULL;
}

#define EXPECT_number(field, least, most, text) expect_number(&(field), least, most, text)
#define EXPECT_amount(field, least, most, text) expect_amount(&(field), text)
#define EXPECT_text(field, least, most, text) expect_text(&(field), text)
#define SAME_number(a, b) ((a) == (b))
#define SAME_amount(a, b) ((a).bytes == (b).bytes && (a).percent == (b).percent)
#define SAME_text(a, b) ((a) == (b) || ((a) != NULL && (b) != NULL && strcmp(a, b) == 0))

static void expect_entry(hk_options_t *expected, const char *entry)
{
#define X(type, field, name, standard_value, least, most, doc)                                     \
    if (strncmp(entry, "HAKMEM_" name "=", sizeof "HAKMEM_" name) == 0)                            \
        EXPECT_##type(expected->field, least, most, entry + sizeof "HAKMEM_" name);
    HK_OPTION_TABLE(X)
#undef X
}

static void read_options(void *environment)
{
    hk_options_read((char **)environment, NULL);
}

static void check_said(const char *said, size_t length, size_t entries)
{
    size_t lines = 0;
    for (size_t at = 0; at < length; lines++) {
        const char *end = memchr(said + at, '\n', length - at);
        CHECKF(end != NULL, " ('%s')", said);
        size_t line = (size_t)(end - (said + at)) + 1;
        CHECKF(line <= 512 && strncmp(said + at, "hakmem: ", 8) == 0, " ('%s')", said);
        for (size_t i = at; i + 1 < at + line; i++)
            CHECKF((unsigned char)said[i] >= 0x20 && said[i] != 0x7f, " ('%s')", said);
        at += line;
    }
    CHECK(lines <= entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[ENTRIES_MAX * 8 + (1 << 16)];
    char *environment[ENTRIES_MAX + 1];
    size_t entries = 0, used = 0;
    if (!standard_known) {
        standard = hk_options;
        standard_known = true;
    }
    if (size == 0 || size > 1 << 14)
        return 0;
    bool prefixed = (data[0] & 1) != 0;
    for (size_t at = 1; at < size && entries < ENTRIES_MAX; entries++) {
        environment[entries] = text + used;
        if (prefixed) {
            memcpy(text + used, "HAKMEM_", 7);
            used += 7;
        }
        for (; at < size && data[at] != 0; at++)
            text[used++] = (char)data[at];
        text[used++] = '\0';
        at++;
    }
    environment[entries] = NULL;

    hk_options_t expected = standard;
    for (size_t i = 0; i < entries; i++)
        expect_entry(&expected, environment[i]);
    size_t length;
    hk_options = standard;
    const char *said = fuzz_capture(2, read_options, environment, &length);
    check_said(said, length, entries);
#define X(type, field, name, standard_value, least, most, doc)                                     \
    CHECKF(SAME_##type(hk_options.field, expected.field), " (%s)", name);
    HK_OPTION_TABLE(X)
#undef X
    hk_options = standard;
    return 0;
}
