/*
 * HAKMEM's command: can the library be preloaded into this program?
 *
 * The dynamic loader ignores LD_PRELOAD, silently or nearly so, in static programs, in programs
 * with raised privileges and in programs of another machine.  A user who measures such a program
 * measures the wrong allocator, so each of these is found here, before the program starts, by the
 * rules that the kernel and the loader go by.
 *
 * No state; everything is computed anew.
 */
#include "preflight.h"

#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { HEAD_BYTES = 512, MAX_INTERPRETERS = 5 };

/* What is known of one file. */
typedef struct image {
    unsigned char head[HEAD_BYTES]; /* its first bytes, zeros behind its end */
    bool readable;
    bool is_elf;
    bool is_script;
    char loader[PATH_MAX]; /* of an ELF file of our own word size: its dynamic loader, or "" */
} image_t;

/* ---- Reading ---- */

static void read_loader(int fd, image_t *image)
{
    ElfW(Ehdr) header;
    memcpy(&header, image->head, sizeof header);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        ElfW(Phdr) segment;
        off_t at = (off_t)(header.e_phoff + (ElfW(Off))i * header.e_phentsize);
        if (pread(fd, &segment, sizeof segment, at) != (ssize_t)sizeof segment)
            return;
        if (segment.p_type != PT_INTERP || segment.p_filesz >= sizeof image->loader)
            continue;
        ssize_t got = pread(fd, image->loader, segment.p_filesz, (off_t)segment.p_offset);
        image->loader[got > 0 ? got : 0] = '\0';
    }
}

static void read_image(const char *path, image_t *image)
{
    memset(image, 0, sizeof *image);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = pread(fd, image->head, sizeof image->head - 1, 0);
    image->readable = got >= 0;
    image->is_elf = got >= (ssize_t)sizeof(ElfW(Ehdr)) && memcmp(image->head, ELFMAG, SELFMAG) == 0;
    image->is_script = got > 2 && image->head[0] == '#' && image->head[1] == '!';
    if (image->is_elf && image->head[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32))
        read_loader(fd, image);
    close(fd);
}

/* Whether it is laid out as this command is. */
static bool is_native(const image_t *image)
{
    return image->head[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           image->head[EI_DATA] ==
               (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB);
}

/* e_type and e_machine follow e_ident in both word sizes. */
static unsigned elf_half(const image_t *image, size_t at)
{
    unsigned low = image->head[EI_DATA] == ELFDATA2MSB ? 1 : 0;
    return image->head[at + low] | (unsigned)image->head[at + 1 - low] << 8;
}

static unsigned elf_machine(const image_t *image)
{
    return elf_half(image, EI_NIDENT + 2);
}

/* ---- Finding ---- */

static int is_program(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return errno == EACCES ? EACCES : ENOENT;
    if (S_ISDIR(info.st_mode))
        return EISDIR;
    return S_ISREG(info.st_mode) && access(path, X_OK) == 0 ? 0 : EACCES;
}

/* Looks name up as execvp would: the first executable file on PATH.  Returns 0, or why there is
 * none. */
static int find_on_path(const char *name, char **path)
{
    const char *dirs = getenv("PATH");
    int reason = ENOENT;
    if (!dirs)
        dirs = "/bin:/usr/bin";
    for (const char *end; *name; dirs = end + 1) {
        end = strchrnul(dirs, ':');
        int length = (int)(end - dirs);
        char *candidate;
        if (asprintf(&candidate, "%.*s/%s", length ? length : 1, length ? dirs : ".", name) < 0)
            err(STATUS_CANNOT_PRELOAD, "out of memory");
        int found = is_program(candidate);
        if (found == 0) {
            *path = candidate;
            return 0;
        }
        free(candidate);
        if (found == EACCES)
            reason = EACCES;
        if (!*end)
            break;
    }
    return reason;
}

static int find_program(const char *name, char **path)
{
    if (!strchr(name, '/'))
        return find_on_path(name, path);
    int reason = is_program(name);
    if (reason == 0 && !(*path = strdup(name)))
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    return reason;
}

static int report_missing(const char *name, int reason)
{
    if (reason == ENOENT) {
        warnx(strchr(name, '/') ? "%s: no such file" : "%s: no such program on PATH", name);
        return STATUS_NOT_FOUND;
    }
    warnx(reason == EISDIR ? "%s: is a directory" : "%s: not executable", name);
    return STATUS_NOT_EXECUTABLE;
}

/* ---- Judging ---- */

/* The kernel marks a program as one with raised privileges, and the loader then drops
 * LD_PRELOAD. */
static const char *raised_privileges(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return NULL;
    if ((info.st_mode & S_ISUID) && info.st_uid != getuid())
        return "setuid";
    if ((info.st_mode & S_ISGID) && (info.st_mode & S_IXGRP) && info.st_gid != getgid())
        return "setgid";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "given file capabilities";
    return NULL;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int judge_elf(const char *path, const image_t *program, const image_t *library,
                     const char *own_loader)
{
    if (program->head[EI_CLASS] != library->head[EI_CLASS])
        warnx(
            "%s: is a %s-bit program and the library is %s-bit; HAKMEM cannot be preloaded into it",
            path, program->head[EI_CLASS] == ELFCLASS64 ? "64" : "32",
            library->head[EI_CLASS] == ELFCLASS64 ? "64" : "32");
    else if (program->head[EI_DATA] != library->head[EI_DATA] ||
             elf_machine(program) != elf_machine(library))
        warnx("%s: is built for another machine (ELF machine %u, the library's is %u); HAKMEM "
              "cannot be preloaded into it",
              path, elf_machine(program), elf_machine(library));
    else if (!program->loader[0])
        warnx("%s: is statically linked; HAKMEM cannot be preloaded into it, link it with "
              "libhakmem.a instead",
              path);
    else if (own_loader[0] && strcmp(base_name(program->loader), base_name(own_loader)) != 0)
        warnx("%s: is loaded by %s and the library by %s, another C library's; HAKMEM cannot be "
              "preloaded into it",
              path, program->loader, own_loader);
    else
        return 0;
    return STATUS_CANNOT_PRELOAD;
}

/* The next file to look at behind a script: its interpreter, or the program that an env interpreter
 * starts.  Returns NULL if that cannot be said. */
static char *script_target(image_t *script)
{
    char *save, *line = strtok_r((char *)script->head + 2, "\n", &save);
    char *word = line ? strtok_r(line, " \t", &save) : NULL;
    if (word && strcmp(base_name(word), "env") == 0) {
        char *argument = strtok_r(NULL, " \t", &save);
        if (argument && strcmp(argument, "-S") == 0)
            argument = strtok_r(NULL, " \t", &save);
        if (argument && *argument != '-' && !strchr(argument, '='))
            return argument;
    }
    return word;
}

static int judge_program(const char *path, const image_t *library, const char *own_loader,
                         int interpreters_left)
{
    image_t image;
    read_image(path, &image);
    if (image.is_script && interpreters_left > 0) {
        char *target = script_target(&image), *interpreter;
        int reason = target ? find_program(target, &interpreter) : 0;
        if (!target)
            return 0;
        if (reason != 0) {
            warnx("%s: its interpreter cannot be run", path);
            return report_missing(target, reason);
        }
        int status = judge_program(interpreter, library, own_loader, interpreters_left - 1);
        if (status != 0)
            warnx("%s: its interpreter is %s", path, interpreter);
        free(interpreter);
        return status;
    }
    const char *privileges = raised_privileges(path);
    if (privileges) {
        warnx("%s: is %s, and the dynamic loader ignores LD_PRELOAD in such programs", path,
              privileges);
        return STATUS_CANNOT_PRELOAD;
    }
    /* Neither one: the kernel, or the shell for it, will say what it is. */
    return image.is_elf ? judge_elf(path, &image, library, own_loader) : 0;
}

/* ---- The library ---- */

static bool read_at(int fd, void *to, size_t bytes, ElfW(Off) at)
{
    return pread(fd, to, bytes, (off_t)at) == (ssize_t)bytes;
}

/* Whether the table of symbols defines what only HAKMEM does. */
static bool defines_mark(int fd, const ElfW(Shdr) * symbols, const ElfW(Shdr) * names)
{
    static const char mark[] = "hak_version";
    ElfW(Sym) symbol;
    for (ElfW(Xword) at = 0; at < symbols->sh_size; at += sizeof symbol) {
        char name[sizeof mark];
        if (!read_at(fd, &symbol, sizeof symbol, symbols->sh_offset + at))
            return false;
        if (symbol.st_shndx != SHN_UNDEF &&
            read_at(fd, name, sizeof name, names->sh_offset + symbol.st_name) &&
            memcmp(name, mark, sizeof name) == 0)
            return true;
    }
    return false;
}

/* Not by dlopen: HAKMEM would obey the environment that is meant for the program, in here. */
static bool is_hakmem(const char *path, const image_t *image)
{
    ElfW(Ehdr) header;
    memcpy(&header, image->head, sizeof header);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool found = false;
    for (unsigned i = 0; fd >= 0 && !found && i < header.e_shnum; i++) {
        ElfW(Shdr) symbols, names;
        found =
            read_at(fd, &symbols, sizeof symbols, header.e_shoff + i * sizeof symbols) &&
            symbols.sh_type == SHT_DYNSYM &&
            read_at(fd, &names, sizeof names, header.e_shoff + symbols.sh_link * sizeof names) &&
            defines_mark(fd, &symbols, &names);
    }
    close(fd);
    return found;
}

/* ---- The two questions ---- */

int preflight_program(const char *program, const char *library, char **path)
{
    int reason = find_program(program, path);
    if (reason != 0)
        return report_missing(program, reason);
    image_t library_image, own_image;
    read_image(library, &library_image);
    read_image("/proc/self/exe", &own_image);
    return judge_program(*path, &library_image, own_image.loader, MAX_INTERPRETERS);
}

int preflight_library(const char *library)
{
    image_t image;
    read_image(library, &image);
    if (!image.readable)
        warnx("%s: cannot be read: %s", library, strerror(errno));
    else if (!image.is_elf || elf_half(&image, EI_NIDENT) != ET_DYN)
        warnx("%s: is not a shared library", library);
    else if (is_native(&image) && !is_hakmem(library, &image))
        warnx("%s: is not HAKMEM", library);
    else if (strpbrk(library, ": \t\n"))
        warnx("%s: LD_PRELOAD cannot name a path with spaces or colons", library);
    else
        return 0;
    return STATUS_CANNOT_PRELOAD;
}
