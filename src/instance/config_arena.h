#pragma once
/*
 * config_arena.h - the memory of one configuration version: given piece by piece, freed at once.
 *
 * A request that can't be met marks the arena as failed, for good: builders allocate freely, skip
 * what they got no memory for, and ask once at the end.  One thread at a time.
 */
#include "base/fault.h"

/* Bytes of one version, a big auth file included. */
#define CONFIG_ARENA_MAX ((size_t)512 * 1024 * 1024)

struct config_arena;

struct config_arena *config_arena_new(void); /* NULL: no memory */
/** NULL-safe; the type of config.arena_free. */
void config_arena_end(void *arena);
/** Zeroed and aligned for any object; NULL marks the arena as failed. */
void *config_arena_take(struct config_arena *arena, size_t size);
/** As many elements; NULL also for none. */
void *config_arena_array(struct config_arena *arena, size_t count, size_t size);
/** A copy with a NUL behind it; NULL when failed. */
char *config_arena_text(struct config_arena *arena, struct span text);
/** OK, LIMIT or MEMORY. */
fault config_arena_fault(const struct config_arena *arena);
