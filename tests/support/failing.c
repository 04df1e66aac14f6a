/* Makes chosen calls of the C library fail, and writes down those it saw: to be preloaded (64-bit Linux, glibc).
 *
 * FAILING_WITHIN  only calls on paths that hold this text are looked at, by rules and by the log.
 * FAILING_RULES   "calls:action:path:when", several with ';'. See support/failing.py for what each may be.
 * FAILING_LOG     a file that gets a line for each call: start, end, call, errno, path, other path, tabs between.
 * FAILING_STAT    "links:N": plain files have N links; "numbers": they have another inode number each time.
 *
 * FAILING_LOSES   set: a close that fails loses half of a file that was written to since one worked.
 *
 * FAILING_NAME_MAX  bytes that a name may have there; a longer one cannot be made or found.
 *
 * A descriptor's path is where /proc/self/fd leads; start and end count calls, so that an order can be proved.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MOST_RULES = 16, MOST_VECTORS = 1024, LENGTH = 2 * PATH_MAX };

enum action { PASS, FAIL, SHORT, NONE };

struct rule {
    const char *calls, *path;
    int error; /* 0 for an action in words */
    bool shorten, nothing, kill, hang, bytes;
    long first, last;
    atomic_long seen;
};

struct call {
    const char *name;
    char path[LENGTH], other[LENGTH];
    long start;
    bool seen;
};

static struct rule rules[MOST_RULES];
static int rule_count;
static const char *within = "";
static int log_fd = -1;
static const char *stats;
static long name_max;
static bool loses;
static atomic_long clock_ticks;

#define REAL(function)                                                       \
    static __typeof__(&function) real;                                       \
    if (real == NULL)                                                        \
        real = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

/* Set-up */

static void parse(char *text)
{
    struct rule *rule = &rules[rule_count];
    char *calls = strsep(&text, ":"), *action = strsep(&text, ":"), *path = strsep(&text, ":"), *when = text;
    if (rule_count == MOST_RULES || when == NULL) {
        fprintf(stderr, "failing.c: a rule cannot be used\n");
        abort();
    }
    rule_count++;
    rule->calls = calls;
    rule->path = path;
    rule->shorten = strcmp(action, "short") == 0;
    rule->nothing = strcmp(action, "nothing") == 0;
    rule->kill = strcmp(action, "kill") == 0;
    rule->hang = strcmp(action, "hang") == 0;
    rule->error = atoi(action);
    rule->bytes = *when == '@';
    rule->first = strtol(when + rule->bytes, &when, 10);
    rule->last = *when == '+' || rule->bytes ? LONG_MAX : rule->first;
}

__attribute__((constructor)) static void set_up(void)
{
    const char *given = getenv("FAILING_RULES"), *log = getenv("FAILING_LOG");
    if (getenv("FAILING_WITHIN") != NULL)
        within = getenv("FAILING_WITHIN");
    stats = getenv("FAILING_STAT");
    loses = getenv("FAILING_LOSES") != NULL;
    if (getenv("FAILING_NAME_MAX") != NULL)
        name_max = atol(getenv("FAILING_NAME_MAX"));
    if (given != NULL && *given != '\0') {
        char *all = strdup(given), *one;
        while ((one = strsep(&all, ";")) != NULL)
            parse(one);
    }
    if (log != NULL)
        log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
}

/* Deciding */

static void link_of(const char *link, char *path)
{
    ssize_t length = readlink(link, path, LENGTH - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static void path_of(int folder, const char *given, char *path)
{
    char link[64];
    if (given == NULL) {
        *path = '\0';
    } else if (strncmp(given, "/proc/self/fd/", 14) == 0) {
        link_of(given, path);
    } else if (*given == '/') {
        snprintf(path, LENGTH, "%s", given);
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        link_of(folder == AT_FDCWD ? "/proc/self/cwd" : link, path);
        size_t length = strlen(path);
        if (strcmp(given, ".") != 0)
            snprintf(path + length, LENGTH - length, "/%s", given);
    }
}

static void path_of_fd(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    link_of(link, path);
}

static bool listed(const char *names, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += length)
        if ((at == names || at[-1] == ',') && (at[length] == '\0' || at[length] == ','))
            return true;
    return strcmp(names, "*") == 0;
}

static bool matches(const char *pattern, const char *path)
{
    size_t wanted = strlen(pattern), length = strlen(path);
    if (wanted > 0 && pattern[wanted - 1] == '$')
        return length >= wanted - 1 && strncmp(path + length - wanted + 1, pattern, wanted - 1) == 0;
    return strstr(path, pattern) != NULL;
}

static long done(struct call *call, long result, int error)
{
    int before = errno;
    if (log_fd >= 0 && call->seen) {
        char line[2 * LENGTH + 100];
        int length = snprintf(line, sizeof line, "%ld\t%ld\t%s\t%d\t%s\t%s\n", call->start,
            atomic_fetch_add(&clock_ticks, 1), call->name, error, call->path, call->other);
        (void)!syscall(SYS_write, log_fd, line, (size_t)length);
    }
    errno = before;
    return result;
}

static long ended(struct call *call, long result)
{
    return done(call, result, result < 0 ? errno : 0);
}

static enum action decide(struct call *call, long size)
{
    enum action action = PASS;
    call->start = atomic_fetch_add(&clock_ticks, 1);
    call->seen = strstr(call->path, within) != NULL || strstr(call->other, within) != NULL;
    for (struct rule *rule = rules; call->seen && rule < rules + rule_count; rule++) {
        if (!listed(rule->calls, call->name) || !(matches(rule->path, call->path) || matches(rule->path, call->other)))
            continue;
        long number = atomic_fetch_add(&rule->seen, rule->bytes ? size : 1) + (rule->bytes ? size : 1);
        if (number < rule->first + rule->bytes || number > rule->last)
            continue;
        if (rule->kill) {
            done(call, 0, -SIGKILL);
            kill(getpid(), SIGKILL);
        }
        if (rule->hang) {
            done(call, 0, -SIGSTOP);
            while (true)
                pause();
        }
        if (rule->shorten) {
            action = SHORT;
        } else if (rule->nothing) {
            action = NONE;
        } else {
            errno = rule->error;
            return FAIL;
        }
    }
    return action;
}

static bool too_long(const char *path)
{
    const char *last = strrchr(path, '/');
    return name_max > 0 && last != NULL && strstr(path, within) != NULL && (long)strlen(last + 1) > name_max;
}

static enum action at_path(
    struct call *call, const char *name, int folder, const char *path, int other_folder, const char *other)
{
    int before = errno;
    call->name = name;
    path_of(folder, path, call->path);
    path_of(other_folder, other, call->other);
    errno = before;
    enum action action = decide(call, 0);
    if (action == PASS && (too_long(call->path) || too_long(call->other))) {
        errno = ENAMETOOLONG;
        return FAIL;
    }
    return action;
}

/* Files that were written to since a descriptor of theirs was closed well, by inode. Where two share a place, the first
 * of them loses nothing. */
enum { PLACES = 4096 };
static atomic_ulong written[PLACES];

static void keep_or_lose(int fd, bool writes, bool fails)
{
    struct stat found;
    if (!loses || syscall(SYS_fstat, fd, &found) != 0)
        return;
    atomic_ulong *place = &written[found.st_ino % PLACES];
    if (writes) {
        atomic_store(place, found.st_ino);
    } else if (atomic_load(place) == found.st_ino) {
        atomic_store(place, 0);
        if (fails)
            (void)!syscall(SYS_ftruncate, fd, found.st_size / 2);
    }
}

static enum action at_fd(struct call *call, const char *name, int fd, long size)
{
    int before = errno;
    call->name = name;
    call->other[0] = '\0';
    path_of_fd(fd, call->path);
    if (size > 0)
        keep_or_lose(fd, true, false);
    errno = before;
    return decide(call, size);
}

/* Opening */

#define CREATES(flags) (((flags) & (O_CREAT | O_TMPFILE)) != 0 && ((flags) & O_TMPFILE) != O_DIRECTORY)

static const char *kind_of_open(int flags)
{
    return (flags & O_TMPFILE) == O_TMPFILE ? "tmpfile" : (flags & O_CREAT) != 0 ? "create" : "open";
}

#define OPEN(function)                                                       \
    int function(const char *path, int flags, ...)                           \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = CREATES(flags) ? va_arg(rest, mode_t) : 0;             \
        va_end(rest);                                                        \
        if (at_path(&call, kind_of_open(flags), AT_FDCWD, path, 0, NULL) == FAIL) \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(path, flags, mode));                   \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(function)                                                     \
    int function(int folder, const char *path, int flags, ...)               \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        va_list rest;                                                        \
        va_start(rest, flags);                                               \
        mode_t mode = CREATES(flags) ? va_arg(rest, mode_t) : 0;             \
        va_end(rest);                                                        \
        if (at_path(&call, kind_of_open(flags), folder, path, 0, NULL) == FAIL) \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(folder, path, flags, mode));           \
    }
OPENAT(openat)
OPENAT(openat64)

/* Telling of files */

#define TELL(function, type, parameters, looked_at, ...)                     \
    int function parameters                                                  \
    {                                                                        \
        REAL(function);                                                      \
        int result = real(__VA_ARGS__);                                      \
        if (result == 0 && stats != NULL && S_ISREG(found->st_mode)) {       \
            int before = errno;                                              \
            char path[LENGTH];                                               \
            looked_at;                                                       \
            errno = before;                                                  \
            if (strstr(path, within) == NULL)                                \
                return result;                                               \
            if (strncmp(stats, "links:", 6) == 0)                            \
                found->st_nlink = (nlink_t)atoi(stats + 6);                  \
            else                                                             \
                found->st_ino += (ino_t)atomic_fetch_add(&clock_ticks, 1);   \
        }                                                                    \
        return result;                                                       \
    }
#define TELL_FD(function, type) TELL(function, type, (int fd, struct type *found), path_of_fd(fd, path), fd, found)
#define TELL_PATH(function, type)                                            \
    TELL(function, type, (const char *given, struct type *found), path_of(AT_FDCWD, given, path), given, found)
#define TELL_AT(function, type)                                              \
    TELL(function, type, (int folder, const char *given, struct type *found, int flags), path_of(folder, given, path), \
        folder, given, found, flags)
TELL_FD(fstat, stat)
TELL_FD(fstat64, stat64)
TELL_PATH(stat, stat)
TELL_PATH(stat64, stat64)
TELL_PATH(lstat, stat)
TELL_PATH(lstat64, stat64)
TELL_AT(fstatat, stat)
TELL_AT(fstatat64, stat64)

long fpathconf(int fd, int name)
{
    REAL(fpathconf);
    char path[LENGTH];
    path_of_fd(fd, path);
    return name == _PC_NAME_MAX && name_max > 0 && strstr(path, within) != NULL ? name_max : real(fd, name);
}

/* Writing */

#define HALF(size) ((size) > 1 ? (size) / 2 : (size))
#define PART(action, size) ((action) == NONE ? 0 : (action) == SHORT ? HALF(size) : (size))

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    struct call call;
    enum action action = at_fd(&call, "write", fd, (long)size);
    if (action == FAIL)
        return ended(&call, -1);
    return ended(&call, real(fd, data, PART(action, size)));
}

#define PWRITE(function, offset_type)                                        \
    ssize_t function(int fd, const void *data, size_t size, offset_type offset) \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        enum action action = at_fd(&call, "write", fd, (long)size);          \
        if (action == FAIL)                                                  \
            return ended(&call, -1);                                         \
        return ended(&call, real(fd, data, PART(action, size), offset)); \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static long size_of(const struct iovec *vectors, int count)
{
    long size = 0;
    for (int i = 0; i < count; i++)
        size += (long)vectors[i].iov_len;
    return size;
}

static int half_of(const struct iovec *vectors, int count, struct iovec *half)
{
    long left = HALF(size_of(vectors, count));
    int used = 0;
    while (used < count && used < MOST_VECTORS && left > 0) {
        half[used] = vectors[used];
        if ((long)half[used].iov_len > left)
            half[used].iov_len = (size_t)left;
        left -= (long)half[used++].iov_len;
    }
    return used;
}

#define WRITEV(function, parameters, ...)                                    \
    ssize_t function parameters                                              \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        struct iovec half[MOST_VECTORS];                                     \
        enum action action = at_fd(&call, "write", fd, size_of(vectors, count)); \
        if (action == FAIL)                                                  \
            return ended(&call, -1);                                         \
        if (action == NONE)                                                  \
            return ended(&call, 0);                                          \
        if (action == SHORT) {                                               \
            count = half_of(vectors, count, half);                           \
            vectors = half;                                                  \
        }                                                                    \
        return ended(&call, real(__VA_ARGS__));                              \
    }
WRITEV(writev, (int fd, const struct iovec *vectors, int count), fd, vectors, count)
WRITEV(pwritev, (int fd, const struct iovec *vectors, int count, off_t at), fd, vectors, count, at)
WRITEV(pwritev64, (int fd, const struct iovec *vectors, int count, off64_t at), fd, vectors, count, at)
WRITEV(pwritev2, (int fd, const struct iovec *vectors, int count, off_t at, int flags), fd, vectors, count, at, flags)
WRITEV(pwritev64v2, (int fd, const struct iovec *vectors, int count, off64_t at, int flags), fd, vectors, count, at,
    flags)

/* One descriptor */

#define ON_FD(function, name, parameters, ...)                               \
    int function parameters                                                  \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        if (at_fd(&call, name, fd, 0) == FAIL)                               \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(__VA_ARGS__));                         \
    }
ON_FD(fsync, "fsync", (int fd), fd)
ON_FD(fdatasync, "fdatasync", (int fd), fd)
ON_FD(syncfs, "syncfs", (int fd), fd)
ON_FD(flock, "flock", (int fd, int operation), fd, operation)
ON_FD(lockf, "lock", (int fd, int operation, off_t size), fd, operation, size)
ON_FD(lockf64, "lock", (int fd, int operation, off64_t size), fd, operation, size)
ON_FD(ftruncate, "truncate", (int fd, off_t size), fd, size)
ON_FD(ftruncate64, "truncate", (int fd, off64_t size), fd, size)
ON_FD(fallocate, "fallocate", (int fd, int mode, off_t at, off_t size), fd, mode, at, size)
ON_FD(fallocate64, "fallocate", (int fd, int mode, off64_t at, off64_t size), fd, mode, at, size)
ON_FD(fchmod, "chmod", (int fd, mode_t mode), fd, mode)
ON_FD(fchown, "chown", (int fd, uid_t owner, gid_t group), fd, owner, group)
ON_FD(fstatvfs, "statvfs", (int fd, struct statvfs *room), fd, room)
ON_FD(fstatvfs64, "statvfs", (int fd, struct statvfs64 *room), fd, room)

/* These two return the error instead of setting errno. */
#define POSIX_FALLOCATE(function, offset_type)                               \
    int function(int fd, offset_type at, offset_type size)                   \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        int before = errno;                                                  \
        int error = at_fd(&call, "fallocate", fd, 0) == FAIL ? errno : real(fd, at, size); \
        errno = before;                                                      \
        return (int)done(&call, error, error);                               \
    }
POSIX_FALLOCATE(posix_fallocate, off_t)
POSIX_FALLOCATE(posix_fallocate64, off64_t)

/* Of a descriptor that could be written to, which is when file systems have something to say. It is closed anyway. */
int close(int fd)
{
    REAL(close);
    struct call call;
    int before = errno;
    int flags = (int)syscall(SYS_fcntl, fd, F_GETFL);
    errno = before;
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return real(fd);
    bool fails = at_fd(&call, "close", fd, 0) == FAIL;
    int error = errno;
    if (call.seen)
        keep_or_lose(fd, false, fails);
    errno = error;
    if (fails) {
        real(fd);
        errno = error;
        return (int)ended(&call, -1);
    }
    return (int)ended(&call, real(fd));
}

#define FCNTL(function)                                                      \
    int function(int fd, int command, ...)                                   \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        va_list rest;                                                        \
        va_start(rest, command);                                             \
        void *argument = va_arg(rest, void *);                               \
        va_end(rest);                                                        \
        bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW; \
        if (!locks && command != F_DUPFD_CLOEXEC)                            \
            return real(fd, command, argument);                              \
        if (at_fd(&call, locks ? "lock" : "dup", fd, 0) == FAIL)             \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(fd, command, argument));               \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

/* Paths */

#define ON_PATH(function, name, folder, path, parameters, ...)               \
    int function parameters                                                  \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        if (at_path(&call, name, folder, path, 0, NULL) == FAIL)             \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(__VA_ARGS__));                         \
    }
ON_PATH(unlink, "unlink", AT_FDCWD, path, (const char *path), path)
ON_PATH(unlinkat, "unlink", folder, path, (int folder, const char *path, int flags), folder, path, flags)
ON_PATH(rmdir, "rmdir", AT_FDCWD, path, (const char *path), path)
ON_PATH(mkdir, "mkdir", AT_FDCWD, path, (const char *path, mode_t mode), path, mode)
ON_PATH(mkdirat, "mkdir", folder, path, (int folder, const char *path, mode_t mode), folder, path, mode)
ON_PATH(truncate, "truncate", AT_FDCWD, path, (const char *path, off_t size), path, size)
ON_PATH(truncate64, "truncate", AT_FDCWD, path, (const char *path, off64_t size), path, size)
ON_PATH(statvfs, "statvfs", AT_FDCWD, path, (const char *path, struct statvfs *room), path, room)
ON_PATH(statvfs64, "statvfs", AT_FDCWD, path, (const char *path, struct statvfs64 *room), path, room)

#define ON_PATHS(function, name, from_folder, to_folder, parameters, ...)    \
    int function parameters                                                  \
    {                                                                        \
        REAL(function);                                                      \
        struct call call;                                                    \
        if (at_path(&call, name, from_folder, from, to_folder, to) == FAIL)  \
            return (int)ended(&call, -1);                                    \
        return (int)ended(&call, real(__VA_ARGS__));                         \
    }
ON_PATHS(rename, "rename", AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_PATHS(renameat, "rename", fd, other, (int fd, const char *from, int other, const char *to), fd, from, other, to)
ON_PATHS(renameat2, "renameat2", fd, other, (int fd, const char *from, int other, const char *to, unsigned flags), fd,
    from, other, to, flags)
ON_PATHS(link, "link", AT_FDCWD, AT_FDCWD, (const char *from, const char *to), from, to)
ON_PATHS(linkat, "link", fd, other, (int fd, const char *from, int other, const char *to, int flags), fd, from, other,
    to, flags)

/* Where a library has no wrapper of its own, programs ask the system by number. */
long syscall(long number, ...)
{
    REAL(syscall);
    va_list rest;
    long given[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_renameat2)
        return renameat2((int)given[0], (const char *)given[1], (int)given[2], (const char *)given[3],
            (unsigned)given[4]);
    return real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
