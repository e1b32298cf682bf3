/* The options parameter: settings lie in the scratch, which is exactly as long as the text, or are
 * those that a short switch stands for. */
#include "fuzz.h"
#include "wire/startup.h"

#include <stdlib.h>

struct seen {
    const uint8_t *begin;
    const uint8_t *upto; /* settings come in order and do not overlap */
    const uint8_t *end;
};

static bool lies_in(const struct seen *seen, struct span text)
{
    return text.at >= seen->begin && text.at < seen->end;
}

static fault see(void *argument, struct span name, struct span value)
{
    struct seen *seen = argument;
    invariant(name.size > 0 && memchr(name.at, '=', name.size) == NULL);
    invariant(memchr(name.at, '-', name.size) == NULL);
    if (!lies_in(seen, name)) {
        invariant(!lies_in(seen, value) || value.at >= seen->upto);
        return OK;
    }
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
    struct seen seen = {.begin = scratch, .upto = scratch, .end = scratch + size};
    struct span wrong = SPAN_NONE;
    fault found = wire_read_options(span_of(data, size), scratch, see, &seen, &wrong);
    invariant(found == OK || (found == FAULT_PROTOCOL && wrong.at != NULL));
    free(scratch);
    return 0;
}
