#include "auth/auth_failures.h"

#include "base/check.h"
#include "base/map.h"
#include "machine/ids.h"

#include <stdlib.h>

#define BUCKETS   16384u
#define BUCKET    4u
#define COUNT_MAX 0xffffu
#define TAG_MAX   0xffffu

static_assert(IS_POWER_OF_TWO(BUCKETS), "the hash is masked");

/* An entry, packed in one word to be changed atomically: tag (16 bits), count (16), since (32). */
struct entry {
    uint32_t tag;
    uint32_t count; /* 0: unused */
    uint32_t since; /* seconds */
};

struct auth_failures {
    uint64_t seed;
    uint64_t entries[BUCKETS * BUCKET]; /* atomic */
};

static uint64_t entry_pack(struct entry entry)
{
    invariant(entry.tag <= TAG_MAX && entry.count > 0 && entry.count <= COUNT_MAX);
    return (uint64_t)entry.tag << 48 | (uint64_t)entry.count << 32 | entry.since;
}

static struct entry entry_unpack(uint64_t word)
{
    return (struct entry){.tag = (uint32_t)(word >> 48),
                          .count = (uint32_t)(word >> 32) & COUNT_MAX,
                          .since = (uint32_t)word};
}

struct auth_failures *auth_failures_new(void)
{
    struct auth_failures *failures = calloc(1, sizeof(*failures));
    if (failures != NULL)
        random_bytes(&failures->seed, sizeof(failures->seed));
    return failures;
}

void auth_failures_free(struct auth_failures **failures)
{
    free(TAKE(*failures));
}

/* An IPv6 network of 64 bits counts as one address. */
static uint64_t address_hash(const struct auth_failures *failures, const struct address *address)
{
    size_t size = address->family == ADDRESS_IPV4 ? 4 : 8;
    return hash_data(address->bytes, size, failures->seed + address->family);
}

static uint32_t seconds(moment at)
{
    return (uint32_t)(at.us / 1000000);
}

static bool entry_counts(struct entry entry, uint32_t tag, moment now, duration window)
{
    return entry.count > 0 && entry.tag == tag &&
           (int64_t)(seconds(now) - entry.since) * 1000000 < window.us;
}

/* Returns the address's entry in its bucket, else an unused one or the one with the fewest
 * failures. */
static uint64_t *entry_for(const struct auth_failures *failures, uint64_t hash, moment now,
                           duration window)
{
    const uint64_t *bucket = &failures->entries[(hash & (BUCKETS - 1)) * BUCKET];
    uint32_t tag = (uint32_t)(hash >> 48) & TAG_MAX;
    uint32_t min = UINT32_MAX;
    const uint64_t *found = bucket;
    for (uint32_t i = 0; i < BUCKET; i++) {
        struct entry entry = entry_unpack(__atomic_load_n(&bucket[i], __ATOMIC_RELAXED));
        if (entry_counts(entry, tag, now, window))
            return (uint64_t *)(uintptr_t)&bucket[i];
        uint32_t loss = entry_counts(entry, entry.tag, now, window) ? entry.count : 0;
        if (loss >= min)
            continue;
        min = loss;
        found = &bucket[i];
    }
    invariant(min <= COUNT_MAX); /* some entry was chosen */
    return (uint64_t *)(uintptr_t)found;
}

uint32_t auth_failures_add(struct auth_failures *failures, const struct address *address,
                           moment now, duration window)
{
    uint64_t hash = address_hash(failures, address);
    uint64_t *at = entry_for(failures, hash, now, window);
    uint64_t before = __atomic_load_n(at, __ATOMIC_RELAXED);
    struct entry next;
    do {
        next = entry_unpack(before);
        uint32_t tag = (uint32_t)(hash >> 48) & TAG_MAX;
        if (!entry_counts(next, tag, now, window))
            next = (struct entry){.tag = tag, .since = seconds(now)};
        next.count = MIN_OF(next.count + 1, COUNT_MAX);
    } while (!__atomic_compare_exchange_n(at, &before, entry_pack(next), true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return next.count;
}

uint32_t auth_failures_count(const struct auth_failures *failures, const struct address *address,
                             moment now, duration window, moment *ret_since)
{
    uint64_t hash = address_hash(failures, address);
    uint32_t tag = (uint32_t)(hash >> 48) & TAG_MAX;
    const uint64_t *at = entry_for(failures, hash, now, window);
    struct entry entry = entry_unpack(__atomic_load_n(at, __ATOMIC_RELAXED));
    if (!entry_counts(entry, tag, now, window))
        return 0;
    *ret_since = (moment){.us = (int64_t)entry.since * 1000000};
    return entry.count;
}
