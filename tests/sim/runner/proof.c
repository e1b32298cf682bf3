#include "runner/proof.h"

#include "machine/clock.h"
#include "machine/os.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAILED 3 /* the process ends with it */

static void proof_tell_stderr(const char *place, const char *text)
{
    fprintf(stderr, "FAILED at %s: %s\n", place, text);
}

static void (*proof_tell)(const char *place, const char *text) = proof_tell_stderr;
static bool proof_aloud;

void proof_tell_with(void (*tell)(const char *place, const char *text))
{
    proof_tell = tell;
}

void proof_fails(const char *file, int line, const char *fact, const char *format, ...)
{
    char place[128], story[512], text[800];
    va_list list;
    va_start(list, format);
    vsnprintf(story, sizeof(story), format, list);
    va_end(list);
    const char *name = strrchr(file, '/');
    snprintf(place, sizeof(place), "%s:%d", name == NULL ? file : name + 1, line);
    snprintf(text, sizeof(text), "%s%s(%s)", story + 1, story[1] == 0 ? "" : " ", fact);
    say("oracle", 0, "FAILED at %s: %s", place, text);
    fflush(stdout);
    proof_tell(place, text);
    _Exit(FAILED);
}

void say_aloud(bool aloud)
{
    proof_aloud = aloud;
}

void say(const char *who, uint32_t number, const char *format, ...)
{
    if (!proof_aloud)
        return;
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    for (char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '.';
    /* Behind the end of the world there is no time that would be the same twice. */
    int64_t us = os == &os_linux ? 0 : os->monotonic_us();
    printf("%6" PRId64 ".%06" PRId64 " %s %u: %s\n", us / 1000000, us % 1000000, who, number, text);
}
