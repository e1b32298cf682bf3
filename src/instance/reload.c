#include "instance/reload.h"

#include "instance/config_load.h"
#include "machine/clock.h"
#include "machine/offload.h"

#include <stdio.h>
#include <stdlib.h>

#define PROBLEMS_MAX ((size_t)256 * 1024)

struct reload {
    struct offload_job job;
    const char *path; /* from the command line: outlives the job */
    uint64_t version;
    struct buffer overrides;
    struct config *config;
    struct buffer report;
    fault result;
    char detail[FAULT_STORY_MAX];
};

static void reload_run(struct offload_job *job)
{
    struct reload *reload = CONTAINER_OF(job, struct reload, job);
    invariant(reload->config == NULL);
    reload->result =
        config_load_with(reload->path, reload->version, buffer_span(&reload->overrides),
                         &reload->config, &reload->report);
    invariant((reload->result == OK) == (reload->config != NULL));
    if (reload->result != OK)
        snprintf(reload->detail, sizeof(reload->detail), "%s", fault_detail(reload->result));
}

static void reload_free(struct offload_job *job)
{
    struct reload *reload = CONTAINER_OF(job, struct reload, job);
    config_unref(&reload->config);
    buffer_fini(&reload->report);
    buffer_fini(&reload->overrides);
    free(reload);
}

fault reload_load(const char *path, uint64_t version, struct span overrides, struct config **ret,
                  struct buffer *report)
{
    struct reload *reload = calloc(1, sizeof(*reload));
    if (reload == NULL)
        return FAULT_MEMORY;
    reload->job = (struct offload_job){.run = reload_run, .free = reload_free};
    reload->path = path;
    reload->version = version;
    reload->report = BUFFER_INIT(PROBLEMS_MAX);
    reload->overrides = BUFFER_INIT(overrides.size);
    buffer_append_span(&reload->overrides, overrides);
    fault copied = buffer_fault(&reload->overrides);
    if (copied != OK) {
        reload_free(&reload->job);
        return copied;
    }
    TRY(offload(&reload->job, NEVER));
    fault result = reload->result;
    invariant(result != OK || reload->config != NULL);
    buffer_append_span(report, buffer_span(&reload->report));
    if (result == OK)
        *ret = TAKE(reload->config);
    else
        (void)!fault_raise(result, "%s", reload->detail);
    reload_free(&reload->job);
    return result;
}
