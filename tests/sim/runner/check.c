#include "runner/check.h"

#include "machine/clock.h"
#include "machine/os.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILED 3 /* the process ends with it */

static void report_to_stderr(const char *place, const char *text)
{
    fprintf(stderr, "FAILED at %s: %s\n", place, text);
}

static void (*check_report)(const char *place, const char *text) = report_to_stderr;
static bool trace_enabled;

void sim_check_report_by(void (*report)(const char *place, const char *text))
{
    check_report = report;
}

void sim_check_failed(const char *file, int line, const char *fact, const char *format, ...)
{
    char place[128], detail[512], text[800];
    va_list list;
    va_start(list, format);
    vsnprintf(detail, sizeof(detail), format, list);
    va_end(list);
    const char *name = strrchr(file, '/');
    snprintf(place, sizeof(place), "%s:%d", name == NULL ? file : name + 1, line);
    snprintf(text, sizeof(text), "%s%s(%s)", detail + 1, detail[1] == 0 ? "" : " ", fact);
    trace("oracle", 0, "FAILED at %s: %s", place, text);
    fflush(stdout);
    check_report(place, text);
    _Exit(FAILED);
}

void trace_enable(bool aloud)
{
    trace_enabled = aloud;
}

void trace(const char *who, uint32_t number, const char *format, ...)
{
    if (!trace_enabled)
        return;
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '.';
    /* After the simulation the clock is that of the real system. */
    int64_t us = os == &os_linux ? 0 : os->monotonic_us();
    printf("%6" PRId64 ".%06" PRId64 " %s %u: %s\n", us / 1000000, us % 1000000, who, number, text);
}
