#pragma once
/*
 * flight_tier_parts.h - answers of the second tier, in Redis, for rules with `tier: redis`.
 *
 * Daemons that share a Redis may have services of the same name at other servers, and a copy of a
 * cluster has its system identifier.  So a key of the second tier begins with the identifier, the
 * start and the version of the server that executes, asked in the transaction of the statement.
 * For a look-up the latest known one of the database counts, for FLIGHT_TIER_KNOWN at most.  On the
 * relay.
 */
#include "flight/l2.h"
#include "relay/flight/flight_check_parts.h"

struct cache_rule;
struct relay;

#define FLIGHT_TIER_KNOWN sec(5)

/** Whether a rule's answers may come from Redis. */
bool flight_tier_is_for(const struct relay *relay, const struct cache_rule *rule);

/* A server, as long as it runs. */
struct flight_tier_server {
    struct origin_server server;
    uint64_t version; /* of PostgreSQL, as server_version_num; 0: the server is not known */
};

/* What one execution has to do with the second tier; zero: nothing. */
struct flight_tier_use {
    uint64_t database;                /* in generations */
    struct l2_found found;            /* of the look-up */
    struct flight_tier_server server; /* that has executed */
    bool unfit;                       /* its session has what other sessions have not */
};

/** Looks the answer of a key up.  Suspends: for the budget at most, and for the server's answer if
 *  the session has to ask which one it is.  Faults: those of the session, which can only be closed
 *  then. */
fault flight_tier_find(struct relay *relay, struct flight_session *session,
                       const struct cache_rule *rule, struct span key,
                       struct flight_tier_use *use) MUST_USE;
/** Notes which server executes. */
void flight_tier_executes(struct relay *relay, struct flight_tier_use *use,
                          const struct flight_check *check);
/** Sends the answer of an execution to Redis. */
void flight_tier_store(struct relay *relay, const struct flight_tier_use *use, struct span key,
                       struct answer *answer, duration life);
