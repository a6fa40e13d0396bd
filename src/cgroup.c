/*
 * cgroup: see cgroup.h.
 */
#include "cgroup.h"

#include <string.h>

#include "os.h"

enum { TEXT_BYTES = 4096, NAME_BYTES = 32 };

typedef struct hierarchy {
    const char *mount; /* where it is always mounted */
    const char *controller;
    const char *file;
} hierarchy_t;

static const hierarchy_t version_2 = {"/sys/fs/cgroup", "", "/memory.max"};
static const hierarchy_t version_1 = {"/sys/fs/cgroup/memory", "memory", "/memory.limit_in_bytes"};

/* The number that the text is, cut off at the largest; 0 if it is none, as "max" is. */
static uint64_t parse_bytes(const char *text)
{
    uint64_t bytes = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(bytes, 10u, &bytes) ||
            __builtin_add_overflow(bytes, (uint64_t)(*text - '0'), &bytes)) {
            return UINT64_MAX;
        }
    }
    return bytes;
}

/* Whether the list, names with commas between up to a colon, names the controller. */
static bool lists(const char *list, const char *controller)
{
    size_t length = strlen(controller);
    for (;;) {
        if (strncmp(list, controller, length) == 0 &&
            (list[length] == ':' || list[length] == ',')) {
            return true;
        }
        size_t name = strcspn(list, ",:\n");
        if (list[name] != ',') {
            return false;
        }
        list += name + 1;
    }
}

/* The path of the process's group, in a line "number:controllers:path" of groups; NULL if there is
 * none.  Ends it with a 0. */
static char *find_path(char *groups, const char *controller)
{
    for (char *line = groups; *line != '\0'; line += *line == '\n') {
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        size_t length = strcspn(line, "\n");
        if (path != NULL && path < line + length && lists(controllers + 1, controller)) {
            line[length] = '\0';
            return path + 1;
        }
        line += length;
    }
    return NULL;
}

/* The limit of one group; 0 if it has none. */
static uint64_t read_limit(const hierarchy_t *hierarchy, const char *group, size_t length)
{
    char name[TEXT_BYTES + 2 * NAME_BYTES];
    char text[NAME_BYTES];
    size_t mount = strlen(hierarchy->mount);
    memcpy(name, hierarchy->mount, mount);
    memcpy(name + mount, group, length);
    strcpy(name + mount + length, hierarchy->file);
    return hk_os_read_file(name, text, sizeof text) > 0 ? parse_bytes(text) : 0;
}

/* The lowest limit from the group up to the mount.  Groups that cannot be seen there, as in a
 * container that is shown a part of the hierarchy, are passed over. */
static uint64_t lowest_limit(const hierarchy_t *hierarchy)
{
    char groups[TEXT_BYTES];
    uint64_t lowest = 0;
    if (hk_os_read_file("/proc/self/cgroup", groups, sizeof groups) == 0) {
        return 0;
    }
    const char *path = find_path(groups, hierarchy->controller);
    size_t length = path == NULL ? 0 : strlen(path);
    for (bool more = path != NULL; more;) {
        while (length > 0 && path[length - 1] == '/') {
            length--;
        }
        uint64_t bytes = read_limit(hierarchy, path, length);
        lowest = bytes != 0 && (lowest == 0 || bytes < lowest) ? bytes : lowest;
        more = length > 0;
        while (length > 0 && path[length - 1] != '/') {
            length--;
        }
    }
    return lowest;
}

uint64_t hk_cgroup_limit_bytes(void)
{
    uint64_t second = lowest_limit(&version_2);
    uint64_t first = lowest_limit(&version_1);
    uint64_t bytes = second == 0 || (first != 0 && first < second) ? first : second;
    uint64_t physical = hk_os_physical_bytes(); /* version 1 writes "none" as a number beyond it */
    return physical != 0 && bytes >= physical ? 0 : bytes;
}
