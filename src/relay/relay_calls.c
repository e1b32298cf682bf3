#include "relay/relay_calls.h"

#include "machine/clock.h"
#include "query/outline.h"
#include "relay/relay.h"
#include "relay/relay_audit_parts.h"
#include "relay/relay_outline.h"
#include "stats/route_times.h"

static struct stats_call_key key_of(const struct local_pool *pool,
                                    const struct query_outline *outline)
{
    const struct route_times *times = pool->log.times;
    return (struct stats_call_key){outline->fingerprint, times->database, times->user,
                                   times->service};
}

void relay_calls_add(const struct local_pool *pool, const struct query_outline *outline,
                     const struct stats_call *call)
{
    struct stats_call_key key = key_of(pool, outline);
    stats_calls_add(local_pool_relay(pool)->pools.env->calls, &key, outline->shown, call, now());
}

static void audit(const struct client *client, const struct query_outline *outline,
                  enum audit_answer answer, const struct stats_call *call)
{
    relay_audit(client, outline, &(struct audit_line){.answer = answer, .call = *call});
}

static void audit_text(const struct client *client, struct span text, enum audit_answer answer,
                       const struct stats_call *call)
{
    if (!relay_audit_wanted(client->pool))
        return;
    struct query_outline *outline = relay_outline_find(client->relay, text);
    audit(client, outline, answer, call);
    query_outline_unref(&outline);
}

void relay_calls_led(const struct client *client, struct span text, const struct stats_call *call)
{
    audit_text(client, text, AUDIT_EXECUTED, call);
}

void relay_calls_lost(const struct client *client, struct span text, const struct stats_call *call)
{
    audit_text(client, text, AUDIT_LOST, call);
}

void relay_calls_share(const struct client *client, struct span text, enum stats_share share,
                       const struct stats_call *call, const char *why)
{
    if (!relay_calls_wanted(client->pool))
        return;
    struct query_outline *outline = relay_outline_find(client->relay, text);
    if (outline == NULL)
        outline = query_outline_unparsed();
    struct stats_call_key key = key_of(client->pool, outline);
    stats_calls_share(client->relay->pools.env->calls, &key, outline->shown, share, why, now());
    if (share != STATS_BYPASS)
        audit(client, outline, share == STATS_HIT ? AUDIT_HIT : AUDIT_JOINED, call);
    query_outline_unref(&outline);
}
