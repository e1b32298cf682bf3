/* context_assembly.c - contexts of coroutines by the assembly of context_*.S. */
#include "machine/context_parts.h"

#include <string.h>

/* Defined in context_x86_64.S and context_aarch64.S. */
void context_begin(void);

#if defined(__x86_64__)
enum { FRAME_WORDS = 8, FRAME_ENTRY = 4, FRAME_ARGUMENT = 3, FRAME_RETURN = 7 };
/* Initial control words of the ABI: mxcsr 0x1f80, x87 0x037f; no exceptions, 64-bit mantissa. */
enum { FRAME_CONTROL = 0 };
static const uint64_t frame_control = 0x0000037f00001f80;
#elif defined(__aarch64__)
enum { FRAME_WORDS = 20, FRAME_ENTRY = 8, FRAME_ARGUMENT = 9, FRAME_RETURN = 19 };
enum { FRAME_CONTROL = 0 }; /* d8: any value */
static const uint64_t frame_control = 0;
#endif

void *context_prepare(void *bottom, size_t size, void (*entry)(void *argument), void *argument)
{
    /* Aligns the stack to 16 bytes at the first instruction of context_begin, as before a call. */
    uint64_t *frame = (uint64_t *)((char *)bottom + size) - FRAME_WORDS - 2;
    memset(frame, 0, (FRAME_WORDS + 2) * sizeof(*frame));
    frame[FRAME_CONTROL] = frame_control;
    frame[FRAME_ENTRY] = (uint64_t)(uintptr_t)entry;
    frame[FRAME_ARGUMENT] = (uint64_t)(uintptr_t)argument;
    frame[FRAME_RETURN] = (uint64_t)(uintptr_t)context_begin;
    return frame;
}

void context_dispose(void *point)
{
    (void)point;
}
