/*
 * A report is one write, whatever its form: on a socket of packets it is one packet.
 */
#include "hak_names.h"

#include <sys/socket.h>

static void is_one_packet(int (*print)(int fd), const char *start, const char *end)
{
    static char text[64 * 1024];
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    CHECK(print(ends[0]) == 0);
    ssize_t got = recv(ends[1], text, sizeof text - 1, MSG_DONTWAIT);
    CHECK(got > 0);
    text[got] = '\0';
    CHECKF(strncmp(text, start, strlen(start)) == 0, " ('%.40s')", text);
    CHECKF(strcmp(text + got - strlen(end), end) == 0, " (%zd bytes, '%s')", got, text);
    CHECK(recv(ends[1], text, sizeof text, MSG_DONTWAIT) < 0);
    CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
}

static void errors_are_returned(void)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    CHECK(full >= 0);
    CHECK(hak_stats_print(full) == ENOSPC && hak_stats_json(full) == ENOSPC);
    CHECK(close(full) == 0);
    CHECK(hak_stats_print(full) == EBADF && hak_stats_json(full) == EBADF);
}

int main(void)
{
    is_one_packet(hak_stats_print, "HAKMEM ", "KiB  = resident\n");
    is_one_packet(hak_stats_json, "{\"version\": ", "}}\n");
    errors_are_returned();
    return 0;
}
