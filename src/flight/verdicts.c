#include "flight/verdicts.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct verdicts {
    struct digests *table;
};

static void *ref(void *value)
{
    return verdict_ref(value);
}

static void unref(void *value)
{
    struct verdict *verdict = value;
    verdict_unref(&verdict);
}

static uint32_t sort(const void *value)
{
    const struct verdict *verdict = value;
    return verdict->reason;
}

struct verdicts *verdicts_new(uint64_t bytes_max)
{
    static const struct digests_kind kind = {ref, unref, sort};
    static_assert(VERDICT_REASONS < DIGESTS_SORTS_MAX, "each reason is a sort");
    struct verdicts *verdicts = calloc(1, sizeof(*verdicts));
    if (verdicts == NULL)
        return NULL;
    verdicts->table = digests_new(&kind, bytes_max);
    if (verdicts->table == NULL)
        verdicts_free(&verdicts);
    return verdicts;
}

void verdicts_free(struct verdicts **verdicts)
{
    if (*verdicts == NULL)
        return;
    digests_free(&(*verdicts)->table);
    free(*verdicts);
    *verdicts = NULL;
}

void verdicts_bound(struct verdicts *verdicts, uint64_t bytes_max)
{
    digests_bound(verdicts->table, bytes_max);
}

struct verdict *verdicts_find(struct verdicts *verdicts, struct span key)
{
    return digests_find(verdicts->table, key);
}

bool verdicts_store(struct verdicts *verdicts, struct span key, struct verdict *verdict)
{
    return key.size > 0 &&
           digests_store(verdicts->table, key, verdict, verdict_bytes(verdict), DIGESTS_REPLACED);
}

void verdicts_clear(struct verdicts *verdicts)
{
    digests_clear(verdicts->table);
}

void verdicts_stats(struct verdicts *verdicts, struct verdicts_stats *ret)
{
    digests_stats(verdicts->table, &ret->table);
    memcpy(ret->reasons, ret->table.sorts, sizeof(ret->reasons));
}
