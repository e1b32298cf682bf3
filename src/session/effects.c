#include "session/effects.h"

#include "session/counted.h"

#include <string.h>

static size_t effects_size(const struct query_effects *effects)
{
    return offsetof(struct query_effects, all) + effects->count * sizeof(effects->all[0]);
}

uint64_t effects_bytes(const struct query_effects *effects)
{
    return effects == NULL ? 0 : effects_size(effects);
}

void effects_free(struct query_effects *effects)
{
    if (effects != NULL)
        counted_free(effects, effects_size(effects));
}

struct query_effects *effects_copy(const struct query_effects *effects)
{
    size_t size = effects_size(effects);
    struct query_effects *copy = counted_alloc(size);
    if (copy != NULL)
        memcpy(copy, effects, size);
    return copy;
}

fault effects_of_text(struct span text, struct query_effects **ret)
{
    struct query_effects effects;
    *ret = NULL;
    if (LIKELY(!query_may_have_effects(text)) || !query_read_effects(text, &effects))
        return OK;
    *ret = effects_copy(&effects);
    return *ret == NULL ? FAULT_MEMORY : OK;
}
