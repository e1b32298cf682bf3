#pragma once
/*
 * resolver.h - finds the backends of a service by DNS: A and AAAA records of a name, or SRV
 * records.
 *
 * Pure: reads no clock, sends nothing.  The caller sends the queries that resolver_ask() returns,
 * hands every answer to resolver_answer(), and calls resolver_ask() again at resolver_due().  Used
 * on one machine only, without locks.  Knows nothing of PostgreSQL.
 *
 * A round asks for everything that the service needs: first the name servers that
 * `server_service` lists, then the service's own records.  Its end sets the time of the next round.
 * A name server that fails, refuses or is silent changes nothing.  Design: docs/internals/fleet.md
 */
#include "base/fault.h"
#include "fleet/found.h"
#include "machine/dns_message.h"
#include "machine/dns_system.h"

struct resolver;
struct table_sink;

enum resolver_kind {
    RESOLVER_FIXED, /* a list of hosts: not for this machine */
    RESOLVER_DNS,   /* the addresses of a name */
    RESOLVER_SRV,   /* the targets of SRV records and their addresses */
};

struct resolver_settings {
    enum resolver_kind kind;
    const char *name;              /* the name to resolve */
    uint16_t port;                 /* of every address; RESOLVER_DNS only */
    const struct address *servers; /* name servers; none: those of resolv.conf */
    size_t server_count;
    const char *server_service; /* SRV records that list more name servers; NULL: none */
    duration timeout;           /* of one name server's answer */
    uint32_t at_once;           /* name servers that are asked the same question at once */
    uint32_t empty_after;       /* rounds without a record after which a service has no backend */
    duration refresh_min;       /* shortest and longest time between two rounds */
    duration refresh_max;
    duration stale_for; /* how long answers are used while no name server answers */
};

/* A query to send. */
struct resolver_query {
    uint64_t number; /* for resolver_answer() */
    struct address server;
    int type;
    duration timeout;
    char name[DNS_NAME_SIZE]; /* complete: without the search list */
};

/** `seed` is for the jitter.  The strings of the settings are borrowed until resolver_set().  The
 *  first round is due at once. */
fault resolver_new(const struct resolver_settings *settings, uint64_t seed,
                   struct resolver **ret) MUST_USE;
void resolver_free(struct resolver **resolver); /* NULL-safe */
/** Sets new settings; the backends stay until answers to the new questions are there.  A round
 *  begins at once; answers to queries of the round before are ignored. */
void resolver_set(struct resolver *resolver, const struct resolver_settings *settings);

/** Whether resolver_ask() will begin a round: the caller reads the machine's files for it. */
bool resolver_begins(const struct resolver *resolver, moment now);
/** Takes what the machine's files say; *system is then without content. */
void resolver_set_system(struct resolver *resolver, struct dns_system *system);
/** Begins a round when it is due.  Returns whether there is a query to send now; call it until it
 *  returns false. */
bool resolver_ask(struct resolver *resolver, moment now, struct resolver_query *ret);
/** Reports the end of a query: `status` and `raw` as from os->dns_ask. */
void resolver_answer(struct resolver *resolver, moment now, uint64_t number, int status,
                     struct span raw);
/** Asks for a round now, because the backends are in doubt.  Rounds begin at least a second apart.
 */
void resolver_demand(struct resolver *resolver);
/** Returns when resolver_ask() is to be called though nothing was answered.  NEVER during a round.
 */
deadline resolver_due(const struct resolver *resolver);

/** Returns a number that changes with the set of backends. */
uint64_t resolver_version(const struct resolver *resolver);
/** Returns the backends in a fixed order, so that the order of an answer changes nothing: by
 *  priority, target, address.  Valid until the next call that is not const. */
const struct backend_found *resolver_found(const struct resolver *resolver, size_t *ret_count);
/** Returns the number of rounds that have begun; a round that resolver_set() gives up counts once,
 *  together with the one after it. */
uint64_t resolver_begun(const struct resolver *resolver);
/** Returns the number of rounds that have ended. */
uint64_t resolver_rounds(const struct resolver *resolver);
/** Whether the latest round got an answer to every question.  If not, *ret says what failed: a
 *  sentence, valid until the next round. */
bool resolver_succeeded(const struct resolver *resolver, const char **ret);

/* --- for the console -------------------------------------------------------------------------- */

/** A row for each record and each name server, see RESOLVE in docs/console.md. */
void resolver_show(const struct resolver *resolver, const char *service, moment now,
                   struct table_sink *sink);
/** Adds cells: rounds, failed_rounds, queries, changes, next_refresh_ms, problem. */
void resolver_show_state(const struct resolver *resolver, moment now, struct table_sink *sink);
/** A row for each target: name, remaining time to live, addresses (as SHOW DNS_HOSTS). */
void resolver_show_hosts(const struct resolver *resolver, moment now, struct table_sink *sink);
/** A row for each SRV name: name, null, records (as SHOW DNS_ZONES). */
void resolver_show_zones(const struct resolver *resolver, struct table_sink *sink);
