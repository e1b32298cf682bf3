#include "runner/memory.h"

#include "runner/check.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#ifdef SIM_WRAPS_MALLOC

#define BLOCKS (1u << 20) /* a power of two, far more than a run has at a time */
/* What TLS lends to all sessions of a thread; it goes with the thread, and that is ours. */
#define TLS_CHUNK_OF_A_THREAD (size_t)(256 * 1024 + 16 * 1024)

struct block {
    uintptr_t at; /* 0: free; 1: was taken once, look further */
    void *taken_by;
    size_t size;
};

static struct block *blocks;
static uint32_t block_count;
static bool watching;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
char *__real_strdup(const char *text);
void __real_free(void *at);
void *__real_reallocarray(void *at, size_t count, size_t size);
void *__wrap_reallocarray(void *at, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *at);

static uint32_t block_place(uintptr_t at)
{
    return (uint32_t)((at >> 4) * 0x9e3779b97f4a7c15u >> 40) & (BLOCKS - 1);
}

static void *block_taken(void *at, size_t size, void *by)
{
    if (!watching || at == NULL || size == TLS_CHUNK_OF_A_THREAD)
        return at;
    CHECK(block_count < BLOCKS / 2);
    uint32_t place = block_place((uintptr_t)at);
    while (blocks[place].at > 1)
        place = (place + 1) & (BLOCKS - 1);
    blocks[place] = (struct block){(uintptr_t)at, by, size};
    block_count += 1;
    return at;
}

static void block_freed(void *at)
{
    if (!watching || at == NULL)
        return;
    uint32_t place = block_place((uintptr_t)at);
    for (; blocks[place].at != 0; place = (place + 1) & (BLOCKS - 1)) {
        if (blocks[place].at != (uintptr_t)at)
            continue;
        /* Nothing needs to look past it where nothing lies behind it. */
        blocks[place].at = blocks[(place + 1) & (BLOCKS - 1)].at == 0 ? 0 : 1;
        block_count -= 1;
        return;
    }
}

void *__wrap_malloc(size_t size)
{
    return block_taken(__real_malloc(size), size, __builtin_return_address(0));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return block_taken(__real_calloc(count, size), count * size, __builtin_return_address(0));
}

void *__wrap_realloc(void *at, size_t size)
{
    block_freed(at);
    return block_taken(__real_realloc(at, size), size, __builtin_return_address(0));
}

void *__wrap_reallocarray(void *at, size_t count, size_t size)
{
    block_freed(at);
    return block_taken(__real_reallocarray(at, count, size), count * size,
                       __builtin_return_address(0));
}

char *__wrap_strdup(const char *text)
{
    return block_taken(__real_strdup(text), 0, __builtin_return_address(0));
}

void __wrap_free(void *at)
{
    block_freed(at);
    __real_free(at);
}

void memory_watch(void)
{
    if (blocks == NULL)
        blocks = __real_malloc(BLOCKS * sizeof(*blocks));
    CHECK(blocks != NULL);
    memset(blocks, 0, BLOCKS * sizeof(*blocks));
    block_count = 0;
    watching = true;
}

void memory_prove_all_back(void)
{
    watching = false;
    trace("oracle", 0, "%u blocks of memory are left", block_count);
    for (uint32_t i = 0; i < BLOCKS && block_count > 0; i++) {
        Dl_info info = {0};
        if (blocks[i].at <= 1)
            continue;
        dladdr(blocks[i].taken_by, &info);
        CHECK(false, "%u blocks of memory are left; one of %zu bytes was taken at sim+%#zx",
              block_count, blocks[i].size,
              (size_t)((char *)blocks[i].taken_by - (char *)info.dli_fbase));
    }
}

#else

void memory_watch(void)
{
}

void memory_prove_all_back(void)
{
}

#endif
