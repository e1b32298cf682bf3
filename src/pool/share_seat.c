/* share_seat.c - what a share and the router tell each other. */
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/claim.h"
#include "pool/router.h"
#include "pool/share_parts.h"

#include <inttypes.h>
#include <stdio.h>

/* --- a seat ----------------------------------------------------------------------------------- */

/* A login that waits until the router knows the share; on its stack. */
struct arrival {
    struct node node;
    struct co *co;
};

bool share_is_entered(const struct share *share)
{
    return share->census[CENSUS_POOL] != NULL && !share->membership.retiring;
}

fault share_enter(struct share *share, deadline by)
{
    struct arrival arrival = {.co = co_self()};
    bool asked = false;
    while (!share_is_entered(share)) {
        if (!share->membership.retiring && !share->membership.enrolling) {
            if (asked)
                return FAULT_MEMORY;
            asked = true;
            share->membership.enrolling = true;
            share->membership.enroll.deliver = router_enroll;
            mail_send(share->pools->env->machine, &share->membership.enroll);
        }
        list_push(&share->membership.arriving, &arrival.node);
        fault waited = co_wait(by);
        list_remove(&share->membership.arriving, &arrival.node);
        TRY(waited);
    }
    return OK;
}

void share_entered(struct share *share)
{
    LIST_EACH (&share->membership.arriving, it)
        co_wake(LIST_ENTRY(it, struct arrival, node)->co);
}

/* --- hints ------------------------------------------------------------------------------------ */

void share_tell(struct share *share)
{
    struct node *first = share->held ? NULL : list_first(&share->claims);
    uint32_t queued = share->held ? 0 : share->claims.count, checks = share->checks;
    hint_write(&share->told.queued, queued > checks ? queued - checks : 0);
    hint_write(&share->told.idle, share->idle.count);
    hint_write(&share->told.clients, share->held ? 0 : share->clients);
    hint_write(&share->told.oldest,
               first == NULL ? 0 : (uint64_t)LIST_ENTRY(first, struct claim, node)->since.us);
}

/* --- wishes ----------------------------------------------------------------------------------- */

/* What idles while claims wait in a session pool has other startup parameters: where there are no
 * more servers, one of them gives its place away. */
void share_make_room(struct share *share)
{
    bool full = hint_read(&share->told.full) != 0;
    if (!full || list_empty(&share->claims) || list_empty(&share->idle))
        return;
    struct server *oldest = LIST_ENTRY(list_last(&share->idle), struct server, node);
    if (share->route->mode == POOL_SESSION)
        server_close(&oldest, "makes room for other startup parameters", false);
}

void share_ask(struct share *share)
{
    share->membership.asked = true;
    mail_send(share->pools->env->machine, &share->membership.want);
}

void share_want(struct share *share)
{
    share_make_room(share);
    share_tell(share);
    if (share->held) {
        share_arm(share);
        return;
    }
    /* While the pool is full only another relay's lease could help, and not at once: asking now and
     * then keeps the bound on overtaking. */
    bool full = hint_read(&share->told.full) != 0;
    bool some = !list_empty(&share->busy);
    bool checked = share->claims.count <= share->checks; /* for each claim a server is on its way */
    if (!full || !some || share->membership.want_after.us <= now().us) {
        share->membership.want_after = after((duration){.us = share->config->overtake_most.us / 4});
        if (!checked)
            share_ask(share);
    }
    share_arm(share);
}

void share_hold(struct share *share, bool held)
{
    if (share->held == held)
        return;
    share->held = held;
    share->membership.want_after = held ? NEVER : now();
    share_want(share);
}

void share_settle_recalls(struct share *share)
{
    uint32_t held = share->idle.count + share->busy.count - share->logins;
    if (share->recalls <= held)
        return;
    __atomic_fetch_add(&share->told.unmet, share->recalls - held, __ATOMIC_ACQ_REL);
    share->recalls = held;
    share_ask(share);
}

bool share_needs_login(struct share *share, struct params **ret_startup)
{
    *ret_startup = NULL;
    if (share->pools->stopping || share->held)
        return false;
    uint32_t servers = share->idle.count + share->busy.count;
    if (share->claims.count <= share->logins)
        return share->route->mode != POOL_SESSION && share->clients > 0 &&
               servers < share->route->pool_min;
    if (share->route->mode != POOL_SESSION)
        return true;
    uint32_t under_way = share->logins; /* each of these is for one of the oldest claims */
    LIST_EACH (&share->claims, it) {
        if (under_way-- > 0)
            continue;
        *ret_startup = params_ref(LIST_ENTRY(it, struct claim, node)->params);
        return true;
    }
    return false;
}

void share_say_full(const struct share *share, char *text, size_t size)
{
    uint64_t at = hint_read(&share->told.full_at);
    const char *server_user = share->route->server_user;
    switch ((enum share_full)hint_read(&share->told.full)) {
    case FULL_SERVICE:
        snprintf(text, size, "service \"%s\" is at its connection_limit %u",
                 share->route->service->name, share->route->service->connections_most);
        return;
    case FULL_CROWD:
        snprintf(text, size, "service \"%s\" takes no more connections",
                 share->route->service->name);
        return;
    case FULL_DATABASE:
        snprintf(text, size, "database \"%s\" is at its limit of %" PRIu64 " servers",
                 share->database, at);
        return;
    case FULL_USER:
        snprintf(text, size, "user \"%s\" is at its limit of %" PRIu64 " servers",
                 server_user != NULL ? server_user : share->user, at);
        return;
    case FULL_ALL:
        snprintf(text, size, "all pools are at the limit of %" PRIu64 " servers", at);
        return;
    default:
        snprintf(text, size, "pool_size %u", share->route->pool_size);
    }
}
