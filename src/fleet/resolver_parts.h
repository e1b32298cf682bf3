#pragma once
/*
 * resolver_parts.h - the objects of resolver.h; for src/fleet only.
 */
#include "base/list.h"
#include "fleet/resolver.h"

/* Name servers of one service; more are ignored. */
#define NAME_SERVERS_MAX 64u

/* --- name servers ----------------------------------------------------------------------------- */

enum name_server_source {
    NAME_SERVER_GIVEN, /* by `name_servers` or resolv.conf */
    NAME_SERVER_LISTED /* by the SRV records of `resolver_service` */
};

struct name_server {
    struct address at;
    enum name_server_source source;
    enum dns_said said; /* the latest; meaningless while `answers` is 0 */
    uint64_t answers;   /* queries that have ended, time-outs included */
    uint32_t failures;  /* in a row */
    moment held_until;  /* asked only if every other one has failed */
};

struct name_servers {
    struct name_server all[NAME_SERVERS_MAX];
    size_t count;
};

/** Adds a server to a list that is being built.  A server of `before` keeps its state. */
void name_servers_add(struct name_servers *servers, const struct name_servers *before,
                      const struct address *at, enum name_server_source source);
/** Notes what a server said; one that failed is held for a time that doubles with each failure. */
void name_servers_note(struct name_servers *servers, const struct address *at, enum dns_said said,
                       moment now);
/** Whether this is no answer about the name at all. */
bool lookup_failed(enum dns_said said);

/* --- what is known ---------------------------------------------------------------------------- */

struct lookup_known {
    bool asked;         /* at least once */
    enum dns_said said; /* the latest */
    struct address by;  /* who said it; ADDRESS_NONE: the hosts file, or no server at all */
    bool good;          /* there are records, of `good_at` */
    moment good_at;
    uint32_t ttl; /* of the records; UINT32_MAX: no limit */
};

enum { FAMILY_IPV4, FAMILY_IPV6, FAMILIES };

struct lookup_family {
    struct lookup_known known;
    struct address *addresses; /* owned */
    size_t count;
};

/* A host whose addresses are needed. */
struct lookup_target {
    struct node node; /* in lookup->targets */
    struct lookup_family families[FAMILIES];
    uint32_t empties; /* rounds in a row in which no family had a record */
    bool named;       /* by the latest records */
    char name[];
};

struct lookup_service {
    struct lookup_target *target;
    uint16_t priority;
    uint16_t weight;
    uint16_t port;
};

/* One SRV name, or one name with addresses, and all that is known about it. */
struct lookup {
    bool is_srv;
    const char *name;
    struct lookup_known known;       /* the SRV records */
    uint32_t empties;                /* rounds in a row without an SRV record */
    struct lookup_service *services; /* owned; BACKENDS_FOUND_MAX */
    size_t count;
    struct list targets;
    /* The round. */
    size_t candidate;   /* place in the search list */
    size_t pending;     /* questions under way */
    bool targets_asked; /* the targets' addresses were asked for */
};

/* --- questions -------------------------------------------------------------------------------- */

struct question {
    struct node node; /* in resolver->questions */
    struct lookup *lookup;
    struct lookup_target *target; /* NULL: SRV records */
    int family;
    int type;
    uint64_t tried; /* a bit for each name server */
    uint32_t asked; /* queries under way */
    uint32_t rank;  /* of the name servers that are being asked */
    bool negative;  /* a server said that there is no record: `said` and `by` */
    enum dns_said said;
    struct address by;
    char name[DNS_NAME_SIZE];
};
static_assert(NAME_SERVERS_MAX <= 64, "tried has a bit for each");

struct query {
    struct node node; /* in resolver->queries */
    uint64_t number;
    struct address server;
    struct question *question; /* NULL: answered by another server */
};

/* --- found backends --------------------------------------------------------------------------- */

struct found_set {
    size_t count;
    struct backend_found all[BACKENDS_FOUND_MAX];
    char names[BACKENDS_FOUND_MAX][DNS_NAME_SIZE];
};

/* --- the resolver ----------------------------------------------------------------------------- */

enum resolver_phase { PHASE_IDLE, PHASE_SERVERS, PHASE_BACKENDS };

struct resolver {
    struct resolver_settings settings;
    struct dns_system system;
    struct name_servers servers;
    struct lookup listing;  /* of name servers; used if settings.server_service */
    struct lookup backends; /* of the service */
    struct list questions;
    struct list queries;
    enum resolver_phase phase;
    uint64_t seed;
    uint64_t numbers;
    struct found_set *found; /* owned */
    uint64_t version;
    uint64_t rounds;
    uint64_t failures; /* rounds in which something failed or was empty */
    moment began_at;   /* the latest round */
    moment good_at;    /* end of the latest round in which nothing failed */
    deadline due;      /* of the next round */
    bool began;        /* a round, at least once */
    bool demanded;     /* a round is to begin as soon as it may */
    char wrong[512];   /* what failed in the latest round; "": nothing */
};

/* --- resolver_lookup.c ------------------------------------------------------------------------ */

void lookup_init(struct lookup *lookup);
void lookup_fini(struct lookup *lookup);
/** Forgets everything that is known. */
void lookup_forget(struct lookup *lookup);
/** Begins a round: adds the first questions to the resolver. */
void lookup_begin(struct resolver *resolver, struct lookup *lookup, moment now);
/** Ends a question with what was said; frees it.  May add more questions. */
void lookup_answered(struct resolver *resolver, struct question *question, enum dns_said said,
                     const struct address *by, struct span raw, moment now);
/** Ends a round: counts empty answers, frees targets that are no longer named. */
void lookup_end(struct resolver *resolver, struct lookup *lookup);
/** Adds the backends that are known now. */
void lookup_collect(const struct resolver *resolver, const struct lookup *lookup, moment now,
                    struct found_set *set);
/** The smallest time to live of what the latest round found, in seconds; UINT32_MAX: no limit. */
uint32_t lookup_ttl(const struct lookup *lookup);
/** Writes what is wrong after a round: a failure or an empty answer.  Returns false if nothing is.
 */
bool lookup_wrong(const struct lookup *lookup, char *text, size_t size);
/** Whether so many rounds found nothing that the service is empty. */
bool lookup_is_empty(const struct resolver *resolver, const struct lookup *lookup);
/** Whether records are used though the latest answer about them was a failure, or none. */
bool lookup_is_stale(const struct lookup_known *known);
/** Whether the records may be used now. */
bool lookup_is_usable(const struct resolver *resolver, const struct lookup_known *known,
                      moment now);

/* --- resolver_found.c ------------------------------------------------------------------------- */

/** Adds a backend unless it is there already, or the set is full. */
void found_set_add(struct found_set *set, const struct backend_found *found);
void found_set_sort(struct found_set *set);
bool found_set_equal(const struct found_set *a, const struct found_set *b);
