/*
 * claim_notice.c - sends a NOTICE to a client that waits for a server for long.
 *
 * No NOTICE is sent during a login, where drivers do not expect it.  The queue of a local pool is
 * in order of arrival, so one point in time tells which claims had their notice.  The queue is
 * walked at most once in LOOK_EVERY.
 */
#include "machine/clock.h"
#include "pool/claim.h"
#include "pool/local_pool.h"
#include "wire/messages.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_EVERY ms(500)

deadline claim_notice_due(const struct local_pool *pool, const struct claim *oldest)
{
    deadline due = later(oldest->since, pool->route->claim_notice);
    return due.us == INT64_MAX || due.us > pool->notice.next.us ? due : pool->notice.next;
}

void claim_put_notice(const struct local_pool *pool, const struct claim *claim, struct buffer *out)
{
    char full[SAY_FULL_SIZE], text[REFUSAL_TEXT_SIZE];
    enum stats_service_count why;
    (void)local_pool_say_full(pool, full, sizeof(full), &why);
    snprintf(text, sizeof(text),
             "waiting for a server of pool \"%s\"/\"%s\" since %" PRId64 " ms (%s)", pool->database,
             pool->user, between(claim->since, now()).us / 1000, full);
    wire_put_report(
        out, &(struct wire_report){.severity = "NOTICE", .sqlstate = "00000", .message = text});
}

void claim_notices(struct local_pool *pool)
{
    const struct claim *first = list_empty(&pool->claims)
                                    ? NULL
                                    : LIST_ENTRY(list_first(&pool->claims), struct claim, node);
    if (first == NULL || claim_notice_due(pool, first).us > now().us)
        return;
    moment noticed = pool->notice.told;
    pool->notice.next = after(LOOK_EVERY);
    LIST_EACH_SAFE (&pool->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (later(claim->since, pool->route->claim_notice).us > now().us)
            break;
        if (claim->since.us <= noticed.us)
            continue;
        pool->notice.told = claim->since;
        if (!claim->login)
            pool->pools->does->notice(claim);
    }
}
