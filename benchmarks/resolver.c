/* Answers look-ups of names that end in .test with 127.0.0.1, and writes them down: to be preloaded (Linux).
 *
 * What stands before the name's first dot decides: hang... never ends, fail... is unknown, any other is found.
 * RESOLVER_DELAY  milliseconds each answer takes.
 * RESOLVER_LOG    a file that gets "+ NAME" as a look-up begins and "- NAME" as it ends. libcurl may look up both
 *                 families of addresses in one call or in two; calls for IPv6 alone are no look-ups here, and fail.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int log_fd = -1;
static long delay;

__attribute__((constructor)) static void set_up(void)
{
    const char *log = getenv("RESOLVER_LOG"), *given = getenv("RESOLVER_DELAY");
    if (log != NULL)
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (given != NULL)
        delay = atol(given);
}

static void note(char what, const char *name)
{
    char line[300];
    int length = snprintf(line, sizeof line, "%c %s\n", what, name);
    if (log_fd >= 0)
        (void)!write(log_fd, line, (size_t)length);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (__typeof__(real))dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = name == NULL ? 0 : strlen(name);
    if (length < 6 || strcmp(name + length - 5, ".test") != 0)
        return real(name, service, hints, found);
    int ipv6 = hints != NULL && hints->ai_family == AF_INET6, result = EAI_NONAME;
    if (!ipv6)
        note('+', name);
    while (strncmp(name, "hang", 4) == 0)
        sleep(1000);
    usleep((useconds_t)delay * 1000);
    if (!ipv6 && strncmp(name, "fail", 4) != 0)
        result = real("127.0.0.1", service, hints, found);
    if (!ipv6)
        note('-', name);
    return result;
}
