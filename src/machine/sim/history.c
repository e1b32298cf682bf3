/* history.c - the history of a run, as a hash and as text. */
#include "machine/sim/os_sim.h"

#include "machine/sim/inside.h"
#include "machine/stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * The history: a hash over each call of the os table with its time and its bytes.  The trace has
 * the same calls as readable lines, with their threads.  No memory address goes into the hash, and
 * nothing in it depends on one.  Numbers are hashed as eight bytes, so that no padding is hashed.
 */
#define LINE_BYTES_MAX 512

static struct history {
    uint64_t hash;
    uint64_t events;
    void (*line)(void *argument, const char *text, size_t size);
    void *argument;
} history;

void sim_history_start(void)
{
    history = (struct history){.hash = 0xcbf29ce484222325};
}

static void history_mix(uint64_t word)
{
    history.hash = (history.hash ^ word) * 0x9fb21c651e98df25;
    history.hash ^= history.hash >> 32;
}

static void history_mix_bytes(const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t word;
    history_mix(size);
    for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        history_mix(word);
    }
    word = 0;
    if (size > 0)
        memcpy(&word, at, size);
    history_mix(word);
}

static void history_mix_what(const char *what)
{
    uint64_t word = 0;
    memcpy(&word, what, strnlen(what, sizeof(word)));
    history_mix(word);
    history_mix((uint64_t)sim_now());
    history.events += 1;
}

static void history_line(const char *format, ...) PRINTF_LIKE(1, 2);
static void history_line(const char *format, ...)
{
    char text[LINE_BYTES_MAX];
    int64_t us = sim_elapsed_us();
    int start = snprintf(text, sizeof(text), "%" PRId64 ".%06" PRId64 " %-10s ", us / 1000000,
                         us % 1000000, sim_thread_name());
    va_list values;
    va_start(values, format);
    int more = vsnprintf(text + start, sizeof(text) - (size_t)start, format, values);
    va_end(values);
    size_t size = (size_t)start + (size_t)more;
    history.line(history.argument, text, MIN_OF(size, sizeof(text) - 1));
}

void sim_note(const char *what, int64_t a, int64_t b)
{
    history_mix_what(what);
    history_mix((uint64_t)a);
    history_mix((uint64_t)b);
    if (UNLIKELY(history.line != NULL))
        history_line("%s %" PRId64 " %" PRId64, what, a, b);
}

void sim_note_bytes(const char *what, int64_t a, const void *bytes, size_t size)
{
    history_mix_what(what);
    history_mix((uint64_t)a);
    history_mix_bytes(bytes, size);
    if (UNLIKELY(history.line != NULL))
        history_line("%s %" PRId64 " %zu", what, a, size);
}

void sim_note_text(const char *what, const char *text, size_t size)
{
    history_mix_what(what);
    history_mix_bytes(text, size);
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\0'))
        size -= 1;
    if (UNLIKELY(history.line != NULL))
        history_line("%s %.*s", what, (int)size, text);
}

void sim_note_link(int handle, const struct address *from, const struct address *to)
{
    char near[ADDRESS_TEXT_SIZE], far[ADDRESS_TEXT_SIZE];
    if (history.line != NULL)
        history_line("link %d %s > %s", handle, address_text(from, near, sizeof(near)),
                     address_text(to, far, sizeof(far)));
}

void sim_remark(const char *format, ...)
{
    char text[LINE_BYTES_MAX];
    va_list values;
    va_start(values, format);
    int size = vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    sim_note_text("remark", text, (size_t)MIN_OF(size, (int)sizeof(text) - 1));
}

void sim_trace(void (*line)(void *argument, const char *text, size_t size), void *argument)
{
    history.line = line;
    history.argument = argument;
}

uint64_t sim_events(void)
{
    return history.events;
}

uint64_t os_sim_history(void)
{
    return history.hash;
}
