#include "flight/l2_shared.h"

#include "flight/l2_parts.h"
#include "machine/ids.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[L2_COUNTS] = {
    [L2_COUNT_HITS] = "hits",
    [L2_COUNT_MISSES] = "misses",
    [L2_COUNT_OLD] = "old",
    [L2_COUNT_MALFORMED] = "malformed",
    [L2_COUNT_VERSION] = "version",
    [L2_COUNT_CHECKSUM] = "checksum",
    [L2_COUNT_OTHER_KEY] = "other_key",
    [L2_COUNT_TOO_LONG] = "too_long",
    [L2_COUNT_STORED] = "stored",
    [L2_COUNT_REFUSED] = "refused",
    [L2_COUNT_TIMEOUTS] = "timeouts",
    [L2_COUNT_FAILURES] = "failures",
    [L2_COUNT_SKIPPED] = "skipped",
    [L2_COUNT_FULL] = "full",
    [L2_COUNT_CONNECTS] = "connects",
    [L2_COUNT_FLUSHES] = "flushes",
};

static const char *copy(const char *text, bool *missing)
{
    char *made = text == NULL ? NULL : strdup(text);
    *missing = *missing || (text != NULL && made == NULL);
    return made;
}

/* Copies the Sentinels, in one piece of memory for each host and one for the list. */
static void copy_sentinels(struct l2_settings *settings, bool *missing)
{
    const struct l2_sentinel *from = settings->sentinels;
    struct l2_sentinel *to = calloc(settings->sentinel_count + 1, sizeof(*to));
    settings->sentinels = to;
    *missing = *missing || to == NULL;
    for (uint32_t i = 0; to != NULL && i < settings->sentinel_count; i++)
        to[i] = (struct l2_sentinel){copy(from[i].host, missing), from[i].port};
}

static void free_sentinels(const struct l2_settings *settings)
{
    for (uint32_t i = 0; settings->sentinels != NULL && i < settings->sentinel_count; i++)
        free((void *)(uintptr_t)settings->sentinels[i].host);
    free((void *)(uintptr_t)settings->sentinels);
}

struct l2 *l2_new(const struct l2_settings *settings)
{
    struct l2 *l2 = calloc(1, sizeof(*l2));
    bool missing = false;
    if (l2 == NULL)
        return NULL;
    l2->settings = *settings;
    l2->settings.host = copy(settings->host, &missing);
    l2->settings.user = copy(settings->user, &missing);
    l2->settings.password = copy(settings->password, &missing);
    l2->settings.prefix = copy(settings->prefix, &missing);
    l2->settings.master = copy(settings->master, &missing);
    l2->settings.sentinel_password = copy(settings->sentinel_password, &missing);
    copy_sentinels(&l2->settings, &missing);
    if (settings->tls != NULL)
        l2->settings.tls = tls_context_ref(settings->tls);
    if (missing)
        l2_free(&l2);
    return l2;
}

void l2_free(struct l2 **l2)
{
    struct l2 *old = TAKE(*l2);
    if (old == NULL)
        return;
    tls_context_unref(&old->settings.tls);
    free((void *)(uintptr_t)old->settings.host);
    free((void *)(uintptr_t)old->settings.user);
    free((void *)(uintptr_t)old->settings.password);
    free((void *)(uintptr_t)old->settings.prefix);
    free((void *)(uintptr_t)old->settings.master);
    free((void *)(uintptr_t)old->settings.sentinel_password);
    free_sentinels(&old->settings);
    free(old);
}

void l2_count(struct l2 *l2, enum l2_count what)
{
    __atomic_fetch_add(&l2->counts[what], 1, __ATOMIC_RELAXED);
}

uint64_t l2_counted(const struct l2 *l2, enum l2_count what)
{
    return __atomic_load_n(&l2->counts[what], __ATOMIC_RELAXED);
}

const char *l2_count_word(enum l2_count what)
{
    return words[what];
}

bool l2_is_lost(const struct l2 *l2)
{
    return __atomic_load_n(&l2->lost, __ATOMIC_RELAXED) != 0;
}

const char *l2_called(const struct l2 *l2)
{
    return l2->settings.host != NULL ? l2->settings.host : l2->settings.master;
}

/* --- the epoch -------------------------------------------------------------------------------- */

/* With braces, all names are in one slot of a cluster. */
struct span l2_epoch_name(const struct l2 *l2, char name[L2_NAME_SIZE])
{
    int size = snprintf(name, L2_NAME_SIZE, "{%s}:epoch", l2->settings.prefix);
    return span_of(name, (size_t)size);
}

struct span l2_epoch_text(char text[L2_EPOCH_SIZE])
{
    uint64_t random;
    random_bytes(&random, sizeof(random));
    snprintf(text, L2_EPOCH_SIZE, "%016" PRIx64, random);
    return span_of(text, L2_EPOCH_SIZE - 1);
}
