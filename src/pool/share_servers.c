/* share_servers.c - servers that idle, and which claim gets the one that is free. */
#include "machine/clock.h"
#include "pool/claim.h"
#include "pool/lease.h"
#include "pool/router.h"
#include "pool/share_parts.h"

/* --- servers ---------------------------------------------------------------------------------- */

static bool server_fits(const struct server *server, const struct claim *claim)
{
    return claim->share->route->mode != POOL_SESSION || server->startup == claim->params;
}

/* Whether it must be cleaned before this client may have it.  To another relay it goes as it is,
 * and belongs to no client there. */
static bool is_suspect_to(const struct server *server, const struct claim *claim)
{
    return UNLIKELY(server->suspect) && server->last_claim != claim;
}

/* It comes free when it is clean, or is closed. */
static void share_clean(struct share *share, struct server *server)
{
    if (share->route->session.isolation == ISOLATION_FRESH) {
        server_close(&server, "the route wants a fresh server for every client", false);
        if (!list_empty(&share->claims))
            share_want(share);
        return;
    }
    share->pools->does->clean(server);
}

static struct server *share_pick(struct share *share, struct claim *claim)
{
    struct server *suspect = NULL;
    struct server *last = claim->last_server;
    if (last != NULL && last->state == SERVER_IDLE && last->share == share &&
        server_fits(last, claim) && !share_rested(share, last))
        return last;
    LIST_EACH (&share->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        if (!server_fits(server, claim))
            continue;
        if (!is_suspect_to(server, claim))
            return server;
        suspect = server; /* the one that rests longest: its client has not come back */
    }
    return suspect;
}

struct server *share_take_idle(struct share *share, struct claim *claim)
{
    if (!list_empty(&share->claims) && share->route->mode != POOL_SESSION) {
        if (UNLIKELY(!list_empty(&share->idle))) /* they are asked whether they answer */
            (void)!share_check(share, LIST_ENTRY(list_first(&share->idle), struct server, node));
        return NULL;
    }
    struct server *server = share_pick(share, claim);
    if (server != NULL && UNLIKELY(share_rested(share, server)) && share_check(share, server) == OK)
        return NULL;
    if (server == NULL)
        return NULL;
    if (is_suspect_to(server, claim)) {
        share_clean(share, server);
        return NULL;
    }
    server_become(server, SERVER_ACTIVE);
    hint_write(&share->told.idle, share->idle.count);
    hint_add(&share->stats.assignments, 1);
    return server;
}

static struct claim *share_next_claim(struct share *share, const struct server *server)
{
    LIST_EACH (&share->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (server_fits(server, claim))
            return claim;
    }
    return NULL;
}

static void share_give_back(struct share *share, struct server *server)
{
    struct lease *lease = TAKE(server->lease);
    invariant(share->recalls > 0);
    share->recalls -= 1;
    server_detach(server);
    lease->server = server;
    lease->how = LEASE_GIVEN;
    share_tell(share);
    mail_send(share->pools->env->machine, &lease->to_router);
}

static const char *server_outlived(const struct share *share, const struct server *server)
{
    if (server->broken)
        return "can't be used again";
    if (share->obsolete && share->clients == 0)
        return "its route is obsolete";
    if (server->until.us <= now().us)
        return server->until.us == 0 ? "it is to be made anew" : "end of its lifetime";
    if (server->taken && share->route->server_lifetime.us == 0)
        return "it is used once only";
    if (share->pools->stopping && share->clients == 0)
        return "shutting down";
    return NULL;
}

/* The idle server that rests longest is another one. */
static void share_tell_rest(struct share *share, struct node *last)
{
    share->rests_longest = last;
    hint_write(&share->told.rested,
               last == NULL ? 0 : (uint64_t)LIST_ENTRY(last, struct server, node)->used.us);
}

/* Nobody here needs it now. */
static void share_rest(struct share *share, struct server *server)
{
    server->used = now();
    server_become(server, SERVER_IDLE);
    server_watch(server);
    hint_write(&share->told.idle, share->idle.count);
    struct node *last = list_last(&share->idle);
    if (last == &server->node || last != share->rests_longest)
        share_tell_rest(share, last);
    if (share->timer.due == INT64_MAX || UNLIKELY(hint_read(&share->told.reserve) != 0))
        share_arm(share);
    if (UNLIKELY(hint_read(&share->told.hungry) != 0)) {
        hint_write(&share->told.hungry, 0);
        share_ask(share);
    }
}

void share_free(struct share *share, struct server *server)
{
    const struct ledger *ledger = &server->ledger;
    invariant(server->client == NULL && ledger_empty(ledger));
    invariant(server->broken || (!ledger->skipping && !ledger->extended));
    if (server->cancels > 0) { /* freed again when the last request is through */
        server_become(server, SERVER_CLEANING);
        server->withheld = true;
        return;
    }
    if (UNLIKELY(server->ledger.doubt != 0) && !server->broken) {
        share->pools->does->mark(server);
        return;
    }
    const char *over = server_outlived(share, server);
    if (over != NULL) {
        server_close(&server, over, server->broken);
        if (!list_empty(&share->claims))
            share_want(share);
        return;
    }
    struct claim *next = share->recalls > 0 ? NULL : share_next_claim(share, server);
    if (next != NULL && is_suspect_to(server, next)) {
        share_clean(share, server);
        return;
    }
    if (share->recalls > 0) {
        server_become(server, SERVER_IDLE);
        share_give_back(share, server);
        return;
    }
    invariant(server->ledger.doubt == 0);
    if (next != NULL) {
        server_become(server, SERVER_ACTIVE);
        hint_add(&share->stats.assignments, 1);
        claim_grant(next, server);
        share_tell(share);
        return;
    }
    if (!list_empty(&share->claims)) {
        server_close(&server, "makes room for other startup parameters", false);
        return;
    }
    if (UNLIKELY(share->route->is_replication)) { /* it was made for one client only */
        server_close(&server, "its client no longer waits for it", false);
        return;
    }
    share_rest(share, server);
}

void share_refuse(struct share *share, const struct params *startup, const char *sqlstate,
                  const char *text)
{
    struct refusal *refusal = refusal_new(sqlstate, text);
    LIST_EACH_SAFE (&share->claims, it) {
        struct claim *claim = LIST_ENTRY(it, struct claim, node);
        if (startup == NULL || claim->params == startup)
            claim_refuse(claim, refusal);
    }
    refusal_unref(&refusal);
}

void share_recall(struct share *share, uint32_t more)
{
    share->recalls += more;
    while (share->recalls > 0 && !list_empty(&share->idle)) {
        struct server *server = LIST_ENTRY(list_last(&share->idle), struct server, node);
        server_become(server, SERVER_CLEANING);
        share_free(share, server);
    }
    share_make_room(share);
    share_settle_recalls(share);
    if (hint_read(&share->told.reserve) != 0)
        share_arm(share);
}

void share_trim(struct share *share)
{
    LIST_EACH_SAFE (&share->idle, it) {
        struct server *server = LIST_ENTRY(it, struct server, node);
        const char *over = server_outlived(share, server);
        if (over != NULL)
            server_close(&server, over, false);
    }
    share_maybe_retire(share);
}
