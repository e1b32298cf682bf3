/* local_pool_reads.c - reads that failed on a replica, by fingerprint: they go to the primary. */
#include "pool/local_pool.h"
#include "session/counted.h"

void local_pool_read_failed(struct local_pool *pool, uint64_t fingerprint)
{
    uint64_t **failed = &pool->reads.failed;
    const size_t size = READS_FAILED_MAX * sizeof(**failed);
    if (*failed == NULL) {
        *failed = counted_alloc(size);
        if (*failed == NULL)
            return; /* it fails on the replica again */
        memset(*failed, 0, size);
    }
    (*failed)[fingerprint % READS_FAILED_MAX] = fingerprint;
}

bool local_pool_read_fails(const struct local_pool *pool, uint64_t fingerprint)
{
    const uint64_t *failed = pool->reads.failed;
    return failed != NULL && failed[fingerprint % READS_FAILED_MAX] == fingerprint;
}

void local_pool_reads_forget(struct local_pool *pool)
{
    counted_free(pool->reads.failed, READS_FAILED_MAX * sizeof(*pool->reads.failed));
    pool->reads.failed = NULL;
}
