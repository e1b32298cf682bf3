/* found.c - the identity of a found backend. */
#include "fleet/found.h"

#include "machine/stream.h"

#include <strings.h>

bool backend_found_equal(const struct backend_found *a, const struct backend_found *b)
{
    return address_equal(&a->address, &b->address) && strcasecmp(a->target, b->target) == 0;
}
