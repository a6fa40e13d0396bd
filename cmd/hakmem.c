/*
 * HAKMEM's command: runs a program on HAKMEM, and compares it with the system's allocator.
 *
 * The program takes this process over (execve), so that its exit status or signal is what the
 * caller sees, and nothing stands between the caller and it.
 */
#include "compare.h"
#include "hakmem/hakmem.h"
#include "preflight.h"

#include <argp.h>
#include <ctype.h>
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "HAKMEM_" /* of the library's variables in the environment */

/* What the options of a subcommand say. */
typedef struct settings {
    const char *library; /* NULL: the one beside this command */
    bool stats;
    bool show_output;
    int runs;
    char **program; /* argv of the program, NULL at the end; NULL: none given */
} settings_t;

static const char usage_text[] =
    "Usage: hakmem run [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
    "  or:  hakmem compare [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
    "  or:  hakmem version [--lib PATH]\n"
    "\n"
    "  run        runs PROGRAM on HAKMEM\n"
    "  compare    runs PROGRAM on the system's allocator and on HAKMEM, and shows time and memory "
    "of both\n"
    "  version    shows the version of this command and of the library it finds\n"
    "\n"
    "hakmem COMMAND --help lists a command's options; hakmem(1) describes them.\n";

/* ---- The library ---- */

/* The library beside this command: where both are installed, or in the build tree. */
static char *find_library(void)
{
    static const char *const places[] = {CMD_LIBDIR "/libhakmem.so.1", "../lib/libhakmem.so.1",
                                         "../libhakmem.so"};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0)
        err(STATUS_CANNOT_PRELOAD, "/proc/self/exe");
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", self, places[i]) < 0)
            err(STATUS_CANNOT_PRELOAD, "out of memory");
        char *resolved = realpath(path, NULL);
        free(path);
        if (resolved)
            return resolved;
    }
    errx(STATUS_CANNOT_PRELOAD, "libhakmem.so.1 is not beside %s; name it with --lib", self);
}

/* The library to use, with its full path; ends the process if there is none that can be used. */
static char *library_or_exit(const settings_t *settings)
{
    char *library = settings->library ? realpath(settings->library, NULL) : find_library();
    if (!library)
        err(STATUS_CANNOT_PRELOAD, "%s", settings->library);
    int status = preflight_library(library);
    if (status != 0)
        exit(status);
    return library;
}

/* LD_PRELOAD with library before what stands there already. */
static char *preload_value(const char *library)
{
    const char *old = getenv("LD_PRELOAD");
    char *value;
    if (asprintf(&value, old && *old ? "%s:%s" : "%s", library, old) < 0)
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    return value;
}

/* ---- Options ---- */

/* NAME=VALUE becomes HAKMEM_NAME=VALUE in the environment; the library judges both. */
static void set_option(struct argp_state *state, const char *text)
{
    const char *equals = strchrnul(text, '=');
    char *name;
    if (asprintf(&name, PREFIX "%.*s", (int)(equals - text), text) < 0)
        argp_failure(state, STATUS_CANNOT_PRELOAD, ENOMEM, "-o");
    for (char *c = name; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    const char *rest = name + strlen(PREFIX);
    bool was_whole = strncmp(rest, PREFIX, strlen(PREFIX)) == 0;
    const char *whole = was_whole ? rest : name;
    if (!*equals || strcmp(whole, PREFIX) == 0)
        argp_error(state, "-o wants NAME=VALUE, not '%s'", text);
    setenv(whole, equals + 1, 1);
    free(name);
}

/* The report goes where the path leads from here, wherever the program goes until its end.  In the
 * name of this directory a %p would be replaced, so there the path stays as it is. */
static void set_report(struct argp_state *state, const char *path)
{
    char *here = *path != '\0' && *path != '/' ? getcwd(NULL, 0) : NULL;
    char *absolute = NULL;
    if (here && !strstr(here, "%p") && asprintf(&absolute, "%s/%s", here, path) < 0)
        argp_failure(state, STATUS_CANNOT_PRELOAD, ENOMEM, "-f");
    setenv("HAKMEM_STATS_FILE", absolute ? absolute : path, 1);
    free(absolute);
    free(here);
}

static int parse_runs(struct argp_state *state, const char *text)
{
    char *end;
    long runs = strtol(text, &end, 10);
    if (*end || end == text || runs < 1 || runs > COMPARE_MAX_RUNS)
        argp_error(state, "--runs wants a number from 1 to %d, not '%s'", COMPARE_MAX_RUNS, text);
    return (int)runs;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    settings_t *settings = state->input;
    switch (key) {
    case 'l': settings->library = argument; return 0;
    case 'o': set_option(state, argument); return 0;
    case 's': settings->stats = true; return 0;
    case 'f':
        settings->stats = true;
        set_report(state, argument);
        return 0;
    case 'j':
        settings->stats = true;
        setenv("HAKMEM_STATS_JSON", "1", 1);
        return 0;
    case 'n': settings->runs = parse_runs(state, argument); return 0;
    case 'p': settings->show_output = true; return 0;
    case ARGP_KEY_ARGS: settings->program = state->argv + state->next; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

#define OPTION_LIB                                                                                 \
    {                                                                                              \
        "lib", 'l', "PATH", 0, "use this library, not the one installed with the command", 0       \
    }
#define OPTION_SET                                                                                 \
    {                                                                                              \
        NULL, 'o', "NAME=VALUE", 0, "set an option of the library, as HAKMEM_NAME=VALUE would", 0  \
    }

static const struct argp_option run_options[] = {
    OPTION_LIB,
    OPTION_SET,
    {"stats", 's', NULL, 0, "write HAKMEM's report to standard error when the program ends", 0},
    {"json", 'j', NULL, 0, "write HAKMEM's report, as JSON", 0},
    {"stats-file", 'f', "FILE", 0,
     "write HAKMEM's report to FILE; %p in the name becomes the process's number", 0},
    {0},
};

static const struct argp_option compare_options[] = {
    OPTION_LIB,
    OPTION_SET,
    {"runs", 'n', "N", 0, "time N runs on each allocator (3)", 0},
    {"show-output", 'p', NULL, 0, "let the program's standard output through", 0},
    {0},
};

static const struct argp_option version_options[] = {OPTION_LIB, {0}};

static const struct argp run_argp = {
    run_options, parse_option, "PROGRAM [ARGUMENT...]", "Runs PROGRAM on HAKMEM.", NULL,
    NULL,        NULL};
static const struct argp compare_argp = {compare_options,
                                         parse_option,
                                         "PROGRAM [ARGUMENT...]",
                                         "Runs PROGRAM on the system's allocator and on HAKMEM, in "
                                         "turns, and shows time and memory of both.",
                                         NULL,
                                         NULL,
                                         NULL};
static const struct argp version_argp = {version_options,
                                         parse_option,
                                         "",
                                         "Shows the version of this command and of its library.",
                                         NULL,
                                         NULL,
                                         NULL};

/* argv[0] is the subcommand; argp shows it as "hakmem run". */
static void parse(const struct argp *argp, int argc, char **argv, settings_t *settings)
{
    char *shown;
    if (asprintf(&shown, "hakmem %s", argv[0]) < 0)
        err(STATUS_CANNOT_PRELOAD, "out of memory");
    argv[0] = shown;
    argp_err_exit_status = STATUS_CANNOT_PRELOAD;
    argp_parse(argp, argc, argv, ARGP_IN_ORDER, NULL, settings);
    if (argp != &version_argp && !settings->program)
        errx(STATUS_CANNOT_PRELOAD, "no program given; try '%s --help'", shown);
    if (argp == &version_argp && settings->program)
        errx(STATUS_CANNOT_PRELOAD, "version runs no program: '%s'", settings->program[0]);
}

/* ---- Subcommands ---- */

static int command_run(int argc, char **argv)
{
    settings_t settings = {0};
    parse(&run_argp, argc, argv, &settings);
    char *path, *library = library_or_exit(&settings);
    int status = preflight_program(settings.program[0], library, &path);
    if (status != 0)
        return status;
    if (settings.stats)
        setenv("HAKMEM_STATS", "1", 1);
    setenv("LD_PRELOAD", preload_value(library), 1);
    execvp(path, settings.program);
    status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
    warn("%s", path);
    return status;
}

static int command_compare(int argc, char **argv)
{
    settings_t settings = {.runs = 3};
    parse(&compare_argp, argc, argv, &settings);
    const char *old = getenv("LD_PRELOAD");
    if (old && strstr(old, "libhakmem.so"))
        errx(STATUS_CANNOT_PRELOAD,
             "LD_PRELOAD names HAKMEM already, so there is nothing to compare with");
    char *path, *library = library_or_exit(&settings);
    int status = preflight_program(settings.program[0], library, &path);
    if (status != 0)
        return status;
    compare_plan_t plan = {
        .path = path,
        .arguments = settings.program,
        .preload = preload_value(library),
        .runs = settings.runs,
        .show_output = settings.show_output,
    };
    return compare_run(&plan);
}

static int command_version(int argc, char **argv)
{
    settings_t settings = {0};
    parse(&version_argp, argc, argv, &settings);
    char *library = library_or_exit(&settings);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        errx(STATUS_CANNOT_PRELOAD, "%s", dlerror());
    int (*version)(void);
    *(void **)&version = dlsym(handle, "hak_version");
    int v = version();
    printf("hakmem %d.%d.%d\n", HAKMEM_VERSION_MAJOR, HAKMEM_VERSION_MINOR, HAKMEM_VERSION_PATCH);
    printf("%s %d.%d.%d\n", library, v / 10000, v / 100 % 100, v % 100);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"run", command_run},
        {"compare", command_compare},
        {"version", command_version},
        {"--version", command_version},
    };
    if (argc > 1 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)) {
        fputs(usage_text, stdout);
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        warnx("no command '%s'", argv[1]);
    fputs(usage_text, stderr);
    return STATUS_CANNOT_PRELOAD;
}
