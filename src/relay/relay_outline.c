#include "relay/relay_outline.h"

#include "base/check.h"
#include "flight/outlines.h"
#include "machine/offload.h"
#include "pool/env.h"
#include "relay/relay.h"

#include <stdlib.h>

struct outline_job {
    struct offload_job job;
    struct query_outline *outline;
    fault failed;
    size_t size;
    uint8_t text[];
};

static void outline_run(struct offload_job *job)
{
    struct outline_job *own = CONTAINER_OF(job, struct outline_job, job);
    own->failed = query_outline_new(span_of(own->text, own->size), &own->outline);
}

static void outline_free(struct offload_job *job)
{
    struct outline_job *own = CONTAINER_OF(job, struct outline_job, job);
    query_outline_unref(&own->outline);
    free(own);
}

static struct span before_nul(struct span text)
{
    const uint8_t *nul = text.size == 0 ? NULL : memchr(text.at, '\0', text.size);
    return nul == NULL ? text : span_of(text.at, (size_t)(nul - text.at));
}

struct query_outline *relay_outline_find(const struct relay *relay, struct span text)
{
    text = before_nul(text);
    if (text.size > QUERY_ANALYSIS_TEXT_MAX)
        return query_outline_unparsed();
    return outlines_find(relay->pools.env->outlines, text);
}

/* Makes the outline and stores it.  While the job runs, the bytes of `text` may change. */
static fault make(const struct relay *relay, struct span text, deadline by,
                  struct query_outline **ret)
{
    struct outline_job *own = calloc(1, sizeof(*own) + text.size);
    if (own == NULL)
        return FAULT_MEMORY;
    own->job = (struct offload_job){.run = outline_run, .free = outline_free};
    own->size = text.size;
    if (text.size > 0)
        memcpy(own->text, text.at, text.size);
    TRY(offload(&own->job, by));
    fault failed = own->failed;
    if (failed == OK)
        (void)outlines_store(relay->pools.env->outlines, span_of(own->text, own->size),
                             own->outline);
    *ret = TAKE(own->outline);
    free(own);
    return failed;
}

fault relay_outline_learn(const struct relay *relay, struct span text, deadline by,
                          struct query_outline **ret)
{
    *ret = relay_outline_find(relay, text);
    if (*ret != NULL)
        return OK;
    return make(relay, before_nul(text), by, ret);
}
