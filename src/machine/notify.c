#include "machine/notify.h"

#include "machine/os_process_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOTICE_MAX     1024
#define PATH_BYTES_MAX 108

static struct {
    char path[PATH_BYTES_MAX]; /* of the manager's socket; "": none */
    duration watchdog;
} manager = {.watchdog = NO_LIMIT};

static int64_t variable_positive(const char *name)
{
    const char *text = os->process->variable(name);
    char *end = NULL;
    if (text == NULL || *text == '\0')
        return 0;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 && value > 0 ? value : 0;
}

void notify_collect(void)
{
    const char *path = os->process->variable("NOTIFY_SOCKET");
    manager.path[0] = '\0';
    manager.watchdog = NO_LIMIT;
    if (path != NULL && strlen(path) < sizeof(manager.path))
        snprintf(manager.path, sizeof(manager.path), "%s", path);
    int64_t us = variable_positive("WATCHDOG_USEC");
    int64_t whose = variable_positive("WATCHDOG_PID");
    if (us > 0 && (whose == 0 || whose == os->process->number()))
        manager.watchdog = (duration){.us = us};
    os->process->variable_drop("NOTIFY_SOCKET");
    os->process->variable_drop("WATCHDOG_USEC");
    os->process->variable_drop("WATCHDOG_PID");
}

bool notify_wanted(void)
{
    return manager.path[0] != '\0';
}

duration notify_watchdog(void)
{
    return manager.watchdog;
}

void notify_send(const char *format, ...)
{
    char text[NOTICE_MAX];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    if (manager.path[0] != '\0' && size > 0)
        os->process->notify(manager.path, text, strlen(text));
}
