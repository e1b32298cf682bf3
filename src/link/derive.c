/* derive.c - derives SCRAM keys on another thread. */
#include "link/link.h"
#include "machine/offload.h"

#include <stdlib.h>

/* A derivation owns all that it touches: the coroutine that waits for it may stop waiting. */
struct derivation {
    struct offload_job job;
    uint8_t salt[SCRAM_SALT_MAX];
    size_t salt_size;
    uint32_t iterations;
    struct scram_keys keys;
    size_t password_size;
    uint8_t password[];
};

static void derivation_run(struct offload_job *job)
{
    struct derivation *derivation = CONTAINER_OF(job, struct derivation, job);
    scram_derive(span_of(derivation->password, derivation->password_size), derivation->salt,
                 derivation->salt_size, derivation->iterations, &derivation->keys);
}

static void derivation_free(struct offload_job *job)
{
    struct derivation *derivation = CONTAINER_OF(job, struct derivation, job);
    explicit_bzero(derivation, sizeof(*derivation) + derivation->password_size);
    free(derivation);
}

fault link_derive(struct span password, const struct scram_keys *like, struct scram_keys *ret,
                  deadline by)
{
    struct derivation *derivation = calloc(1, sizeof(*derivation) + password.size);
    if (derivation == NULL)
        return FAULT_MEMORY;
    invariant(like->salt_size <= sizeof(derivation->salt));
    derivation->job.run = derivation_run;
    derivation->job.free = derivation_free;
    derivation->iterations = like->iterations;
    derivation->salt_size = like->salt_size;
    memcpy(derivation->salt, like->salt, sizeof(derivation->salt));
    derivation->password_size = password.size;
    if (password.size > 0)
        memcpy(derivation->password, password.at, password.size);
    TRY(offload(&derivation->job, by));
    *ret = derivation->keys;
    derivation_free(&derivation->job);
    return OK;
}
