/* The options parameter: settings lie in the scratch, which is exactly as long as the text. */
#include "fuzz.h"
#include "wire/startup.h"

#include <stdlib.h>

struct seen {
    const uint8_t *upto; /* settings come in order and do not overlap */
    const uint8_t *end;
};

static fault see(void *argument, struct span name, struct span value)
{
    struct seen *seen = argument;
    invariant(name.size > 0 && memchr(name.at, '=', name.size) == NULL);
    invariant(memchr(name.at, '-', name.size) == NULL);
    invariant(name.at >= seen->upto && value.at == name.at + name.size + 1);
    invariant(value.at + value.size <= seen->end);
    seen->upto = value.at + value.size;
    return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *scratch = malloc(size + (size == 0));
    if (scratch == NULL)
        return 0;
    struct seen seen = {.upto = scratch, .end = scratch + size};
    fault found = wire_read_options(span_of(data, size), scratch, see, &seen);
    invariant(found == OK || found == FAULT_PROTOCOL);
    free(scratch);
    return 0;
}
