#include "instance/config_arena.h"

#include "base/check.h"
#include "machine/process.h"

#include <stdlib.h>

/* Minimum size of a block, so that a thousand short texts need only a few blocks. */
#define BLOCK_MIN ((size_t)16 * 1024)
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
    struct arena_block *next;
    size_t used;
    size_t size; /* of `bytes`; used <= size */
    _Alignas(max_align_t) uint8_t bytes[];
};

struct config_arena {
    struct arena_block *blocks; /* the current block first */
    size_t size;                /* of all blocks; at most CONFIG_ARENA_MAX */
    fault failed;
};

struct config_arena *config_arena_new(void)
{
    return calloc(1, sizeof(struct config_arena));
}

void config_arena_end(void *arena)
{
    struct config_arena *self = arena;
    if (self == NULL)
        return;
    while (self->blocks != NULL) {
        struct arena_block *block = self->blocks;
        self->blocks = block->next;
        invariant(block->used <= block->size);
        /* The texts include secrets: wipe them. */
        size_t size = sizeof(*block) + block->size;
        explicit_bzero(block->bytes, block->used);
        process_hide(block, size, false);
        free(block);
    }
    free(self);
}

static struct arena_block *arena_grow(struct config_arena *arena, size_t need)
{
    size_t whole = sizeof(struct arena_block) + MAX_OF(need, BLOCK_MIN);
    size_t size =
        (whole + PROCESS_PAGE - 1) / PROCESS_PAGE * PROCESS_PAGE - sizeof(struct arena_block);
    invariant(size >= need && arena->size <= CONFIG_ARENA_MAX);
    if (size > CONFIG_ARENA_MAX - arena->size) {
        arena->failed = FAULT_LIMIT;
        return NULL;
    }
    /* Whole pages, which are excluded from core dumps. */
    struct arena_block *block = aligned_alloc(PROCESS_PAGE, sizeof(*block) + size);
    if (block == NULL) {
        arena->failed = FAULT_MEMORY;
        return NULL;
    }
    process_hide(block, sizeof(*block) + size, true);
    memset(block, 0, sizeof(*block) + size);
    invariant((sizeof(*block) + size) % PROCESS_PAGE == 0);
    block->size = size;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->size += size;
    invariant(arena->size <= CONFIG_ARENA_MAX && block->used == 0);
    return block;
}

void *config_arena_take(struct config_arena *arena, size_t size)
{
    if (arena->failed != OK)
        return NULL;
    if (size > CONFIG_ARENA_MAX) {
        arena->failed = FAULT_LIMIT;
        return NULL;
    }
    size = (MAX_OF(size, (size_t)1) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_block *block = arena->blocks;
    if (block == NULL || block->size - block->used < size)
        block = arena_grow(arena, size);
    if (block == NULL)
        return NULL;
    void *taken = block->bytes + block->used;
    invariant(block == arena->blocks && (uintptr_t)taken % ALIGNMENT == 0);
    block->used += size;
    invariant(block->used <= block->size);
    return taken;
}

void *config_arena_array(struct config_arena *arena, size_t count, size_t size)
{
    size_t total;
    if (count == 0)
        return NULL;
    if (__builtin_mul_overflow(count, size, &total))
        total = SIZE_MAX;
    return config_arena_take(arena, total);
}

char *config_arena_text(struct config_arena *arena, struct span text)
{
    char *copy = config_arena_take(arena, text.size + 1);
    if (copy != NULL && text.size > 0)
        memcpy(copy, text.at, text.size);
    return copy;
}

fault config_arena_fault(const struct config_arena *arena)
{
    return arena->failed;
}
