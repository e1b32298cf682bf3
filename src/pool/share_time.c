/* share_time.c - a share's one timer: claims that wait too long, servers that idle too long, and
 * the end of a drain. */
#include "machine/clock.h"
#include "machine/log.h"
#include "pool/claim.h"
#include "pool/share_parts.h"

#include <inttypes.h>
#include <stdio.h>

static struct claim *share_oldest_claim(const struct share *share)
{
    struct node *first = list_first(&share->claims);
    return first == NULL ? NULL : LIST_ENTRY(first, struct claim, node);
}

/* When an idle server has been idle for too long: sooner where it is one of the reserve. */
static deadline share_idle_end(const struct share *share, const struct server *server)
{
    duration most = share->route->idle_timeout;
    if (hint_read(&share->told.reserve) != 0)
        most.us = MIN_OF(most.us, share->route->reserve_after.us);
    return later(server->used, most);
}

/* The timer serves three ends: the oldest claim's, the oldest idle server's, and the drain's. */
void share_arm(struct share *share)
{
    deadline by = share->drain_by;
    struct claim *oldest = share_oldest_claim(share);
    if (oldest != NULL) {
        by = earlier_of(by, later(oldest->since, share->route->claim_timeout));
        by = earlier_of(by, share->membership.want_after);
        by = earlier_of(by, claim_notice_due(share, oldest));
    }
    struct node *last = list_last(&share->idle);
    if (last != NULL) {
        deadline end = share_idle_end(share, LIST_ENTRY(last, struct server, node));
        /* One that is kept although its time is over is looked at again in a while. */
        by = earlier_of(by, end.us > now().us ? end : after(share->route->idle_timeout));
    }
    timer_set(&share->timer, by);
}

static void share_expire_claims(struct share *share)
{
    struct claim *oldest;
    while ((oldest = share_oldest_claim(share)) != NULL &&
           later(oldest->since, share->route->claim_timeout).us <= now().us) {
        char full[120], text[360];
        share_say_full(share, full, sizeof(full));
        snprintf(text, sizeof(text),
                 "no server of pool \"%s\"/\"%s\" became free within claim_timeout (%" PRId64
                 " ms, %s)",
                 share->database, share->user, share->route->claim_timeout.us / 1000, full);
        struct refusal *refusal = refusal_new("53300", text);
        claim_refuse(oldest, refusal);
        refusal_unref(&refusal);
    }
}

static void share_expire_idle(struct share *share)
{
    struct node *last;
    while ((last = list_last(&share->idle)) != NULL) {
        struct server *server = LIST_ENTRY(last, struct server, node);
        if (share_idle_end(share, server).us > now().us)
            break;
        if (share->clients > 0 &&
            share->idle.count + share->busy.count <= hint_read(&share->told.keep))
            break;
        uint64_t reserve = hint_read(&share->told.reserve);
        if (reserve > 0) /* until the router says what is so now */
            hint_write(&share->told.reserve, reserve - 1);
        server_close(&server, reserve > 0 ? "the reserve is not needed" : "idle for too long",
                     false);
    }
}

/* Those in a transaction leave at its end, the others now. */
static void share_drain(struct share *share)
{
    if (share->drain_by.us > now().us)
        return;
    share->drain_by = NEVER;
    log_event(LOG_NOTICE, "route.drained", "database=%s user=%s version=%" PRIu64 " clients=%u",
              share->database, share->user, share->version, share->clients);
    share->pools->does->drain(share);
}

void share_timer_fired(struct waker *waker)
{
    struct share *share = CONTAINER_OF(waker, struct share, timer_waker);
    share_drain(share);
    share_expire_claims(share);
    claim_notices(share);
    share_expire_idle(share);
    if (!list_empty(&share->claims))
        share_want(share);
    share_arm(share);
    share_maybe_retire(share);
}

/* --- how long clients may take ---------------------------------------------------------------- */

/* The user's own, else its route's; 0 is none. */
static duration time_of(duration own, duration general, bool *any)
{
    duration limit = own.us != 0 ? own : general;
    if (limit.us == 0)
        limit = NO_LIMIT;
    *any |= limit.us != INT64_MAX;
    return limit;
}

void share_set_times(struct share *share)
{
    static const struct user_config nobody;
    const struct route_config *route = share->route;
    const struct user_config *user = config_user(share->config, share->user);
    struct share_times times = {.any = false};
    if (user == NULL || route->is_replication)
        user = &nobody;
    times.query = time_of(user->query_timeout, route->query_timeout, &times.any);
    times.transaction = time_of(user->transaction_timeout, route->transaction_timeout, &times.any);
    times.idle_transaction =
        time_of(user->idle_transaction_timeout, route->idle_transaction_timeout, &times.any);
    times.client_idle = time_of(user->client_idle_timeout, route->client_idle_timeout, &times.any);
    bool was = share->times.any;
    share->times = times;
    if (was || times.any)
        share->pools->does->times(share, was);
}
