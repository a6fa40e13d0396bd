/* A program that knows nothing of HAKMEM, and closes a plugin that has it inside. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *use_and_close(void *plugin)
{
    int (*use)(void);
    *(void **)(void *)&use = dlsym(plugin, "plugin_use");
    if (use == NULL || !use() || dlclose(plugin) != 0) {
        exit(1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    void *plugin = argc == 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (plugin == NULL) {
        fprintf(stderr, "%s\n", argc == 2 ? dlerror() : "which plugin?");
        return 1;
    }
    pthread_t thread;
    if (pthread_create(&thread, NULL, use_and_close, plugin) != 0 ||
        pthread_join(thread, NULL) != 0) {
        return 1;
    }
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child || status != 0) {
        return 1;
    }
    puts("consumer: ok");
    return 0;
}
