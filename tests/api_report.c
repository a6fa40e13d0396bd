/*
 * The reports.  Each is one write, whatever its form: on a socket of packets it is one packet.
 * Size classes whose blocks lie scattered are named, in the text, the JSON and malloc_info's XML;
 * and so are the options that are not at their default.
 */
#include "hak_names.h"

#include <malloc.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { BLOCKS = 20000, BLOCK_BYTES = 1000, CLASS_BYTES = 1024 };

static void *blocks[BLOCKS];

/* The report, which is there until the next one. */
static const char *report(int (*print)(int fd))
{
    static char text[64 * 1024];
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    CHECK(print(ends[0]) == 0);
    ssize_t got = recv(ends[1], text, sizeof text - 1, MSG_DONTWAIT);
    CHECK(got > 0);
    text[got] = '\0';
    CHECK(recv(ends[1], text + got + 1, 1, MSG_DONTWAIT) < 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
    return text;
}

static void check_ends(const char *text, const char *start, const char *end)
{
    CHECKF(strncmp(text, start, strlen(start)) == 0, " ('%.40s')", text);
    CHECKF(strcmp(text + strlen(text) - strlen(end), end) == 0, " ('%s')", text);
}

static void errors_are_returned(void)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0);
    CHECK(hak_stats_print(full) == ENOSPC && hak_stats_json(full) == ENOSPC);
    CHECK(close(full) == 0);
    CHECK(hak_stats_print(full) == EBADF && hak_stats_json(full) == EBADF);
}

static size_t find_number(const char *text, const char *before)
{
    const char *at = strstr(text, before);
    CHECKF(at != NULL, " (no %s in '%s')", before, text);
    return strtoul(at + strlen(before), NULL, 10);
}

/* A class's figures in the JSON; those of all classes add up. */
static void check_json(size_t least_free, size_t most_used)
{
    const char *text = report(hak_stats_json);
    const char *classes = strstr(text, "\"classes\": [{\"block_bytes\": ");
    CHECKF(classes != NULL, " ('%s')", text);
    size_t sum = 0, last = 0;
    const char *found = NULL;
    for (const char *at = classes; (at = strstr(at, "{\"block_bytes\": ")) != NULL; at++) {
        size_t block_bytes = find_number(at, "\"block_bytes\": ");
        size_t slab_bytes = find_number(at, "\"slab_bytes\": ");
        size_t free_bytes = find_number(at, "\"free_bytes\": ");
        CHECK(block_bytes > last && slab_bytes > 0 && free_bytes <= slab_bytes);
        sum += free_bytes;
        last = block_bytes;
        found = block_bytes == CLASS_BYTES ? at : found;
    }
    CHECKF(sum == find_number(text, "\"slab_free_bytes\": "), " (%zu: '%s')", sum, text);
    CHECKF(found != NULL, " ('%s')", classes);
    size_t slab_bytes = find_number(found, "\"slab_bytes\": ");
    size_t free_bytes = find_number(found, "\"free_bytes\": ");
    CHECKF(free_bytes >= least_free && slab_bytes - free_bytes <= most_used, " (%zu of %zu)",
           free_bytes, slab_bytes);
}

/* The first of the size classes in the text; false if it names none. */
static bool worst_class(size_t *block_bytes, size_t *slab_kib, size_t *free_kib, size_t *percent)
{
    const char *text = report(hak_stats_print);
    const char *table = strstr(text, "KiB  = resident\nsize classes with most free");
    if (table == NULL) {
        check_ends(text, "HAKMEM ", "KiB  = resident\n");
        return false;
    }
    check_ends(text, "HAKMEM ", " KiB live, cached or in depots\n");
    const char *row = strstr(table, "    given back\n") + sizeof "    given back";
    size_t empty, hole, used;
    CHECKF(sscanf(row, "%zu B %zu KiB %zu KiB %zu KiB %zu KiB %zu %% free, %zu KiB live",
                  block_bytes, slab_kib, free_kib, &empty, &hole, percent, &used) == 7,
           " ('%s')", table);
    CHECKF(*slab_kib - *free_kib - used <= 1 && *percent == *free_kib * 100 / *slab_kib, " ('%s')",
           table);
    return true;
}

/* In a sanitizer's build it is not HAKMEM's. */
static void check_xml(size_t least_free)
{
#if !TEST_SANITIZED
    char *text = NULL;
    size_t length = 0, from, to, total, count;
    FILE *stream = open_memstream(&text, &length);
    CHECK(stream != NULL && malloc_info(0, stream) == 0 && fclose(stream) == 0);
    check_ends(text, "<malloc version=\"hakmem-1\">\n<heap nr=\"0\">\n<sizes>\n", "</malloc>\n");
    const char *row = strstr(text, "<size from=\"961\" to=\"1024\" ");
    CHECKF(row != NULL && strstr(row, "</sizes>\n</heap>\n") != NULL, " ('%s')", text);
    CHECK(sscanf(row, "<size from=\"%zu\" to=\"%zu\" total=\"%zu\" count=\"%zu\"/>", &from, &to,
                 &total, &count) == 4);
    CHECKF(total >= least_free && total == count * CLASS_BYTES, " (%zu, %zu)", total, count);
    free(text);
    stream = fopen("/dev/full", "w");
    CHECK(stream != NULL && setvbuf(stream, NULL, _IONBF, 0) == 0);
    CHECK(malloc_info(0, stream) == EIO && fclose(stream) == 0);
#else
    (void)least_free;
#endif
}

/* No class is named while few blocks are free, nor when nearly all are live; one is when nine of
 * ten blocks that lie side by side are free. */
static void classes_are_named(void)
{
    size_t block_bytes, slab_kib, free_kib, percent;
    t_free(t_malloc(BLOCK_BYTES));
    CHECK(!worst_class(&block_bytes, &slab_kib, &free_kib, &percent));
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = t_malloc(BLOCK_BYTES)) != NULL);
    CHECK(!worst_class(&block_bytes, &slab_kib, &free_kib, &percent));
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % 10 != 0)
            t_free(blocks[i]);
    CHECK(worst_class(&block_bytes, &slab_kib, &free_kib, &percent));
    CHECKF(block_bytes == CLASS_BYTES && percent >= 75 && free_kib > 15 * 1024, " (%zu, %zu, %zu)",
           block_bytes, percent, free_kib);
    check_json(15 * MIB, 5 * MIB);
    check_xml(15 * MIB);
    for (size_t i = 0; i < BLOCKS; i += 10)
        t_free(blocks[i]);
    (void)hak_trim(0);
    CHECK(!worst_class(&block_bytes, &slab_kib, &free_kib, &percent));
}

static void *report_all(void *argument)
{
    CHECK(report(hak_stats_print)[0] == 'H' && report(hak_stats_json)[0] == '{');
    FILE *stream = fopen("/dev/null", "w");
    CHECK(stream != NULL && setvbuf(stream, NULL, _IONBF, 0) == 0);
    CHECK(malloc_info(0, stream) == 0 && fclose(stream) == 0);
    return argument;
}

/* As small as a thread's stack may be; a sanitizer needs more. */
static void small_stacks_suffice(void)
{
    if (TEST_SANITIZED)
        return;
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, (size_t)sysconf(_SC_THREAD_STACK_MIN)) == 0);
    CHECK(pthread_create(&thread, &attributes, report_all, NULL) == 0);
    test_join(thread);
}

static void *report_to_pipe(void *argument)
{
    const int *ends = argument;
    CHECK(hak_stats_json(ends[1]) == 0 && close(ends[1]) == 0);
    return NULL;
}

/* A thread whose report is held up by a full pipe holds up no other, and writes its own. */
static void reports_are_apart(void)
{
    static char text[128 * 1024];
    int ends[2];
    CHECK(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 4096);
    CHECK(fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
    while (write(ends[1], text, 4096) == 4096) {
    }
    CHECK(fcntl(ends[1], F_SETFL, 0) == 0);
    pthread_t thread = test_thread(report_to_pipe, ends);
    usleep(20000);
    check_ends(report(hak_stats_json), "{\"version\": ", "}}\n");
    check_ends(report(hak_stats_print), "HAKMEM ", "KiB  = resident\n");
    size_t got = 0;
    for (ssize_t part; (part = read(ends[0], text + got, sizeof text - 1 - got)) > 0;)
        got += (size_t)part;
    test_join(thread);
    const char *begin = text;
    while (*begin == '\0')
        begin++;
    check_ends(begin, "{\"version\": ", "}}\n");
    CHECK(close(ends[0]) == 0);
}

/* The second line of the report of this program, run again with these options. */
static const char *second_line(char *const *environment)
{
    static char text[16 * 1024];
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char *const arguments[] = {(char *)"api_report", (char *)"report", NULL};
        CHECK(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO);
        execve("/proc/self/exe", arguments, environment);
        _exit(1);
    }
    CHECK(close(ends[1]) == 0);
    size_t used = 0;
    for (ssize_t got; (got = read(ends[0], text + used, sizeof text - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    CHECK(close(ends[0]) == 0 && waitpid(child, &status, 0) == child && status == 0);
    check_ends(text, "HAKMEM ", "\n");
    char *line = strchr(text, '\n') + 1;
    strchr(line, '\n')[1] = '\0';
    return line;
}

#define OPTIONS "options that are not at their default: "

static void check_options(char *const *environment, const char *expected)
{
    const char *line = second_line(environment);
    CHECKF(strcmp(line, expected) == 0, " ('%s')", line);
}

static void options_are_shown(void)
{
    static char path[1000];
    char expected[400];
    char *const none[] = {(char *)"A=1", NULL};
    char *const standard[] = {(char *)"HAKMEM_HUGE=1", (char *)"HAKMEM_LIMIT=0", NULL};
    char *const some[] = {(char *)"HAKMEM_CAP=1536K",    (char *)"HAKMEM_LIMIT=2048M",
                          (char *)"HAKMEM_HUGE=0",       (char *)"HAKMEM_SOFT_LIMIT=1073741825",
                          (char *)"HAKMEM_STATS_JSON=1", NULL};
    char *const share[] = {(char *)"HAKMEM_CAP=80%", NULL};
    char *const text[] = {path, (char *)"HAKMEM_HUGE=2", NULL};
    CHECK(strstr(second_line(none), "address space mapped") != NULL);
    CHECK(strstr(second_line(standard), "address space mapped") != NULL);
    check_options(some, OPTIONS "HAKMEM_STATS_JSON=1 HAKMEM_LIMIT=2G HAKMEM_SOFT_LIMIT=1073741825 "
                                "HAKMEM_HUGE=0 HAKMEM_CAP=1536K\n");
    check_options(share, OPTIONS "HAKMEM_CAP=80%\n");
    /* A path is cut, and whatever it has that is no character is not shown. */
    memset(path, 'p', sizeof path - 1);
    memcpy(path, "HAKMEM_STATS_FILE=a\n\x80", 21);
    snprintf(expected, sizeof expected, OPTIONS "HAKMEM_STATS_FILE=a??%.*s... HAKMEM_HUGE=2\n", 125,
             path + 100);
    check_options(text, expected);
}

int main(int count, char **arguments)
{
    if (count > 1) {
        CHECK(strcmp(arguments[1], "report") == 0);
        CHECK(hak_stats_print(STDOUT_FILENO) == 0);
        return 0;
    }
    check_ends(report(hak_stats_print), "HAKMEM ", "KiB  = resident\n");
    check_ends(report(hak_stats_json), "{\"version\": ", "}}\n");
    errors_are_returned();
    small_stacks_suffice();
    reports_are_apart();
    classes_are_named();
    options_are_shown();
    return 0;
}
