#include "machine/log.h"

#include "base/span.h"
#include "machine/log_line.h"
#include "machine/os.h"
#include "machine/os_linux_log.h"

#include <stdarg.h>
#include <unistd.h>

static int log_least_urgent = LOG_INFO;         /* atomic */
static int log_chosen_format = LOG_FORMAT_TEXT; /* atomic; an enum log_format */

/* Too large for a turn's stack; an event never suspends. */
static _Thread_local struct log_line log_scratch;

static void log_build(struct log_line *line, const struct log_head *event, const char *pairs,
                      va_list values)
{
    struct log_head head = *event;
    head.wall_us = os->wall_us();
    head.process = (int)getpid();
    line->format = (enum log_format)__atomic_load_n(&log_chosen_format, __ATOMIC_RELAXED);
    log_line_build(line, &head, pairs, values);
}

/* Only the line: what the sink itself has to say must not go through the sink. */
static const struct log_line *log_make(const char *name, const char *pairs, ...)
{
    va_list values;
    va_start(values, pairs);
    log_build(&log_scratch, &(struct log_head){.level = LOG_WARNING, .name = name}, pairs, values);
    va_end(values);
    return &log_scratch;
}

static size_t log_report_dropped(char *bytes, size_t most, uint64_t count)
{
    const struct log_line *line = log_make("log.dropped", "lines=%llu", (unsigned long long)count);
    size_t size = MIN_OF(line->size, most);
    memcpy(bytes, line->bytes, size);
    return size;
}

int log_configure(int level, enum log_format format, const char *path)
{
    int result = os == &os_linux ? os_linux_log_start(path, log_report_dropped) : 0;
    if (result != 0)
        return result;
    __atomic_store_n(&log_least_urgent, level, __ATOMIC_RELAXED);
    __atomic_store_n(&log_chosen_format, (int)format, __ATOMIC_RELAXED);
    return 0;
}

void log_finish(void)
{
    os_linux_log_stop();
}

bool log_wants(int level)
{
    return level <= __atomic_load_n(&log_least_urgent, __ATOMIC_RELAXED);
}

void log_event(int level, const char *name, const char *format, ...)
{
    va_list values;
    if (!log_wants(level))
        return;
    va_start(values, format);
    log_build(&log_scratch, &(struct log_head){.level = level, .name = name}, format, values);
    va_end(values);
    os->log_line(log_scratch.bytes, log_scratch.size);
}
