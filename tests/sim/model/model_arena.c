/* model_arena.c - memory of one text or one row, which goes all at once. */
#include "model_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_MIN 2000

struct sql_chunk {
    struct sql_chunk *next;
    size_t size;
    size_t used;
    max_align_t bytes[];
};

void *sql_take(struct sql_arena *arena, size_t size)
{
    struct sql_chunk *chunk = arena->first;
    size = (size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = MAX_OF(size, (size_t)CHUNK_MIN);
        chunk = malloc(sizeof(*chunk) + room);
        invariant(chunk != NULL);
        *chunk = (struct sql_chunk){.next = arena->first, .size = room};
        arena->first = chunk;
    }
    void *taken = (char *)chunk->bytes + chunk->used;
    chunk->used += size;
    return memset(taken, 0, size);
}

struct span sql_copy(struct sql_arena *arena, struct span text)
{
    char *copy = sql_take(arena, text.size + 1);
    if (text.size > 0)
        memcpy(copy, text.at, text.size);
    return span_of(copy, text.size);
}

struct span sql_printf(struct sql_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    invariant(size >= 0);
    char *text = sql_take(arena, (size_t)size + 1);
    va_start(arguments, format);
    (void)vsnprintf(text, (size_t)size + 1, format, arguments);
    va_end(arguments);
    return span_of(text, (size_t)size);
}

void sql_arena_reset(struct sql_arena *arena)
{
    struct sql_chunk *last = arena->first;
    while (last != NULL && last->next != NULL) {
        struct sql_chunk *next = last->next;
        free(last);
        last = next;
    }
    if (last != NULL)
        last->used = 0;
    arena->first = last;
}

void sql_arena_fini(struct sql_arena *arena)
{
    sql_arena_reset(arena);
    free(arena->first);
    arena->first = NULL;
}
