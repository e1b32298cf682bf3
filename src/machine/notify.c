#include "machine/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTICE_MOST 1024

static struct {
    struct sockaddr_un to;
    socklen_t size; /* 0: nobody listens */
    duration watchdog;
} manager = {.watchdog = NO_LIMIT};

static void notify_find(const char *path)
{
    size_t size = path == NULL ? 0 : strlen(path);
    if (size < 2 || size >= sizeof(manager.to.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    manager.to.sun_family = AF_UNIX;
    memcpy(manager.to.sun_path, path, size);
    /* An abstract name begins with a NUL and ends with its length. */
    bool abstract = path[0] == '@';
    if (abstract)
        manager.to.sun_path[0] = '\0';
    manager.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (abstract ? 0 : 1));
}

static int64_t variable_positive(const char *name)
{
    const char *text = getenv(name);
    char *end = NULL;
    if (text == NULL || *text == '\0')
        return 0;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 && value > 0 ? value : 0;
}

void notify_collect(void)
{
    notify_find(getenv("NOTIFY_SOCKET"));
    int64_t us = variable_positive("WATCHDOG_USEC");
    int64_t whose = variable_positive("WATCHDOG_PID");
    if (us > 0 && (whose == 0 || whose == getpid()))
        manager.watchdog = (duration){.us = us};
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

bool notify_wanted(void)
{
    return manager.size > 0;
}

duration notify_watchdog(void)
{
    return manager.watchdog;
}

static void notify_put(const char *text, size_t size)
{
    int handle = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (handle < 0)
        return;
    /* A manager that does not listen is not our affair; one whose queue is full hears the next. */
    ssize_t sent =
        sendto(handle, text, size, MSG_NOSIGNAL, (struct sockaddr *)&manager.to, manager.size);
    (void)sent;
    close(handle);
}

void notify_send(const char *format, ...)
{
    char text[NOTICE_MOST];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    if (manager.size > 0 && size > 0)
        notify_put(text, strlen(text));
}
