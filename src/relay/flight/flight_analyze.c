#include "relay/flight/flight_analyze.h"

#include "base/check.h"
#include "machine/offload.h"
#include "query/analysis.h"

#include <stdlib.h>

struct analyze_job {
    struct offload_job job;
    struct query_analysis *analysis;
    fault failed;
    size_t size;
    uint8_t text[];
};

static void analyze_run(struct offload_job *job)
{
    struct analyze_job *own = CONTAINER_OF(job, struct analyze_job, job);
    own->failed = query_analyze(span_of(own->text, own->size), &own->analysis);
}

static void analyze_free(struct offload_job *job)
{
    struct analyze_job *own = CONTAINER_OF(job, struct analyze_job, job);
    query_analysis_free(&own->analysis);
    free(own);
}

fault flight_analyze(struct span text, deadline by, struct query_analysis **ret)
{
    struct analyze_job *own = calloc(1, sizeof(*own) + text.size);
    if (own == NULL)
        return FAULT_MEMORY;
    own->job = (struct offload_job){.run = analyze_run, .free = analyze_free};
    own->size = text.size;
    memcpy(own->text, text.at, text.size);
    TRY(offload(&own->job, by));
    fault failed = own->failed;
    *ret = TAKE(own->analysis);
    free(own);
    return failed;
}
