#include "flight/outlines.h"

#include <stdlib.h>

struct outlines {
    struct digests *table;
};

static void *ref(void *value)
{
    return query_outline_ref(value);
}

static void unref(void *value)
{
    struct query_outline *outline = value;
    query_outline_unref(&outline);
}

struct outlines *outlines_new(uint64_t bytes_max)
{
    static const struct digests_kind kind = {ref, unref, NULL};
    struct outlines *outlines = calloc(1, sizeof(*outlines));
    if (outlines == NULL)
        return NULL;
    outlines->table = digests_new(&kind, bytes_max);
    if (outlines->table == NULL)
        outlines_free(&outlines);
    return outlines;
}

void outlines_free(struct outlines **outlines)
{
    if (*outlines == NULL)
        return;
    digests_free(&(*outlines)->table);
    free(*outlines);
    *outlines = NULL;
}

struct query_outline *outlines_find(struct outlines *outlines, struct span text)
{
    return text.size > QUERY_ANALYSIS_TEXT_MAX ? NULL : digests_find(outlines->table, text);
}

bool outlines_store(struct outlines *outlines, struct span text, struct query_outline *outline)
{
    return text.size <= QUERY_ANALYSIS_TEXT_MAX &&
           digests_store(outlines->table, text, outline, outline->bytes, DIGESTS_STAYS);
}

void outlines_stats(struct outlines *outlines, struct digests_stats *ret)
{
    digests_stats(outlines->table, ret);
}
