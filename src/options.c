/*
 * options: see options.h.
 */
#include "options.h"

#include <string.h>
#include <sys/auxv.h>

#include "log.h"

static const char prefix[] = "HAKMEM_";

enum { DISTANCE_MAX = 3, NAME_MAX_LENGTH = 32 };

typedef enum option_type { OPTION_number, OPTION_text, OPTION_amount } option_type_t;

typedef struct option {
    option_type_t type;
    const char *name;
    void *value;
    uint64_t least;
    uint64_t most;
    char *copy; /* of a text: programs overwrite their environment to set a title */
} option_t;

#define COPY_number NULL
#define COPY_amount NULL
#define COPY_text ((char[HK_OPTION_TEXT_BYTES]){0})

#define X(type, field, name, standard, least, most, doc) .field = standard,
hk_options_t hk_options = {HK_OPTION_TABLE(X)};
#undef X

static hk_options_t staged; /* what is being read */

#define X(type, field, name, standard, least, most, doc)                                           \
    {OPTION_##type, name, &staged.field, least, most, COPY_##type},
static const option_t options[] = {HK_OPTION_TABLE(X)};
#undef X

enum { OPTION_COUNT = sizeof options / sizeof options[0] };

/* How many single changes turn one name into the other (Levenshtein's distance). */
static size_t distance(const char *a, size_t a_length, const char *b)
{
    size_t row[NAME_MAX_LENGTH + 1];
    size_t b_length = strlen(b);
    if (a_length > NAME_MAX_LENGTH || b_length > NAME_MAX_LENGTH) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b_length; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_length];
}

static void report_unknown(const char *name, size_t length)
{
    const option_t *nearest = NULL;
    size_t least = DISTANCE_MAX + 1;
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        size_t steps = distance(name, length, options[i].name);
        if (steps < least && steps < strlen(options[i].name)) {
            least = steps;
            nearest = &options[i];
        }
    }
    hk_line_t line = {0};
    hk_line_text(&line, prefix);
    for (size_t i = 0; i < length && line.length < HK_LINE_BYTES / 2; i++) {
        bool printable = name[i] >= ' ' && name[i] <= '~';
        line.text[line.length++] = printable ? name[i] : '?';
    }
    if (nearest != NULL) {
        hk_line_text(&line, "; did you mean HAKMEM_");
        hk_line_text(&line, nearest->name);
        hk_line_text(&line, "?");
    }
    hk_log_warning("unknown option", hk_line_end(&line));
}

/* Reads a whole decimal number with an optional K, M or G behind it; *rest is what follows. */
static bool parse_number(const char *text, uint64_t *number, const char **rest)
{
    uint64_t value = 0;
    if (*text < '0' || *text > '9') {
        return false;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) {
            return false;
        }
    }
    const char *units = "KMG";
    const char *unit = *text != '\0' ? strchr(units, *text) : NULL;
    if (unit != NULL) {
        uint64_t factor = 1ull << 10 * (unit - units + 1);
        if (__builtin_mul_overflow(value, factor, &value)) {
            return false;
        }
        text++;
    }
    *number = value;
    *rest = text;
    return true;
}

/* A number, or 1% to 100%. */
static bool parse_amount(const char *text, hk_amount_t *amount)
{
    const char *rest;
    uint64_t number;
    if (!parse_number(text, &number, &rest)) {
        return false;
    }
    bool share = *rest == '%' && rest[-1] >= '0' && rest[-1] <= '9';
    *amount = share ? (hk_amount_t){0, number} : (hk_amount_t){number, 0};
    return rest[share] == '\0' && (!share || (number >= 1 && number <= 100));
}

static bool parse_text(const option_t *option, const char *text)
{
    size_t length = strlen(text);
    if (length >= HK_OPTION_TEXT_BYTES) {
        return false;
    }
    memcpy(option->copy, text, length + 1);
    *(const char **)option->value = length > 0 ? option->copy : NULL;
    return true;
}

/* Sets the option; false if the text is no value for it. */
static bool parse_value(const option_t *option, const char *text)
{
    const char *rest;
    uint64_t number;
    hk_amount_t amount;
    switch (option->type) {
    case OPTION_text: return parse_text(option, text);
    case OPTION_amount:
        if (!parse_amount(text, &amount)) {
            return false;
        }
        *(hk_amount_t *)option->value = amount;
        return true;
    default:
        if (!parse_number(text, &number, &rest) || *rest != '\0' || number < option->least ||
            number > option->most) {
            return false;
        }
        *(uint64_t *)option->value = number;
        return true;
    }
}

static void set_option(const option_t *option, const char *text)
{
    if (parse_value(option, text)) {
        return;
    }
    hk_line_t line = {0};
    hk_line_text(&line, prefix);
    hk_line_text(&line, option->name);
    hk_line_text(&line, ": it takes ");
    if (option->type == OPTION_amount) {
        hk_line_text(&line, "bytes (with K, M or G) or 1% to 100%");
    } else if (option->type == OPTION_text) {
        hk_line_text(&line, "up to ");
        hk_line_number(&line, HK_OPTION_TEXT_BYTES - 1);
        hk_line_text(&line, " characters");
    } else {
        hk_line_number(&line, option->least);
        hk_line_text(&line, " to ");
        hk_line_number(&line, option->most);
    }
    hk_line_text(&line, "; the default is kept");
    hk_log_warning("bad value for", hk_line_end(&line));
}

static void read_entry(const char *name, const char *equals)
{
    size_t length = (size_t)(equals - name);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (strlen(options[i].name) == length && memcmp(options[i].name, name, length) == 0) {
            set_option(&options[i], equals + 1);
            return;
        }
    }
    report_unknown(name, length);
}

/* Whether an entry of the environment is meant for HAKMEM. */
static bool is_ours(const char *entry)
{
    return strncmp(entry, prefix, sizeof prefix - 1) == 0;
}

/* What a program with privileges starts, once it has made them its own, no longer counts as one,
 * and would obey. */
static void remove_options(char **environment)
{
    char **kept = environment;
    for (char **entry = environment; *entry != NULL; entry++) {
        if (!is_ours(*entry)) {
            *kept++ = *entry;
        }
    }
    *kept = NULL;
}

static void read_all(char **environment)
{
    if (getauxval(AT_SECURE) != 0) {
        staged.harden = 1; /* the environment is the attacker's: what protects is on */
        remove_options(environment);
        return;
    }
    for (char **entry = environment; *entry != NULL; entry++) {
        if (is_ours(*entry)) {
            const char *name = *entry + sizeof prefix - 1;
            const char *equals = strchr(name, '=');
            if (equals != NULL) {
                read_entry(name, equals);
            }
        }
    }
}

void hk_options_read(char **environment, void (*prepare)(const hk_options_t *read))
{
    static char *no_environment[] = {NULL};
    staged = hk_options;
    read_all(environment != NULL ? environment : no_environment);
    if (prepare != NULL) {
        prepare(&staged);
    }
    hk_options = staged;
}
