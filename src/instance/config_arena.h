#pragma once
/*
 * config_arena.h - the memory of one configuration version: allocated piece by piece, freed at
 * once.
 *
 * A request that can't be met marks the arena as failed, permanently.  Builders allocate without
 * checks, skip what they got no memory for, and call config_arena_fault() once at the end.  Not
 * thread-safe.
 */
#include "base/fault.h"

/* Maximum of bytes of one version, a large auth file included. */
#define CONFIG_ARENA_MAX ((size_t)512 * 1024 * 1024)

struct config_arena;

struct config_arena *config_arena_new(void); /* NULL: no memory */
/** Frees the arena; NULL-safe.  Has the type of config.arena_free. */
void config_arena_end(void *arena);
/** Allocates zeroed memory, aligned for any object.  Returns NULL and marks the arena as failed if
 *  there is none. */
void *config_arena_take(struct config_arena *arena, size_t size);
/** Allocates an array of `count` elements.  Returns NULL also if `count` is 0. */
void *config_arena_array(struct config_arena *arena, size_t count, size_t size);
/** Copies the text and appends a NUL. Returns NULL if the arena failed. */
char *config_arena_text(struct config_arena *arena, struct span text);
/** Returns OK, LIMIT or MEMORY. */
fault config_arena_fault(const struct config_arena *arena);
