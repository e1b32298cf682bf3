#pragma once
/*
 * fleet_parts.h - the objects of fleet.h; for src/fleet only.
 *
 * The diagram of a backend's states is at backend_become() in service.c.
 */
#include "fleet/backoff.h"
#include "fleet/choice.h"
#include "fleet/fleet.h"
#include "fleet/lag.h"
#include "fleet/share.h"

/* Addresses of one service.  More of them are a LIMIT fault. */
#define SERVICE_BACKENDS_MAX BACKENDS_FOUND_MAX

/* Failures within this time make a backend less attractive. */
#define FAILURES_WINDOW sec(60)

enum backend_state {
    BACKEND_ONLINE,    /* logins up to logins_max (one at a time at a replica) */
    BACKEND_SUSPECT,   /* dropped a connection: one login at a time until one succeeds */
    BACKEND_NOT_READY, /* answers, but accepts no logins: one login at a time, when due */
    BACKEND_OFFLINE,   /* does not answer: one login at a time, when due */
    BACKEND_STATES,
};

/* Names under which a backend has been configured, the current name first.  Callers hold pointers
 * to them, so an old name stays until the backend has no slots. */
struct backend_name {
    struct backend_name *next;
    char text[];
};

struct backend {
    struct node node; /* in service->backends, also while obsolete */
    struct service *service;
    struct address address;
    struct backend_name *names;
    uint64_t id; /* counted within the service; never reused */
    enum backend_state state;
    enum backend_role role;
    moment looked_at; /* when the role was last found; meaningless while it is unknown */
    uint8_t refused;  /* by target, a bit each: the latest login was reported as a wrong role */
    moment failed_at; /* the last failure that counted */
    struct fleet_backoff backoff; /* from failed_at to the next probe; reset by a success */
    struct fleet_backoff trouble; /* logins succeed, but the connections are of no use */
    struct fleet_backoff doubt;   /* pauses in which a known wrong role asks for no resolution */
    moment doubted_at;            /* when one did */
    struct backend_sample sample; /* the latest answer of a probe, if `sampled` */
    bool sampled;
    uint64_t instance;     /* of the latest sample that has one; 0: none had */
    moment instance_since; /* connections begun before may be to the instance before it */
    uint32_t line_before;  /* the line of that one when it was last sampled */
    bool followed;         /* an instance before it was sampled, and no higher line since */
    moment moved;          /* slots from before may be at another server; 0: it has not moved */
    bool moved_lately;     /* for backend_take_move() */
    moment logged_in;      /* when the latest login of a pool succeeded; 0: none has */
    bool trusted;          /* the sample was not too old when the service was judged */
    bool foreign;          /* of another system than the service's other backends: gets no slots */
    duration lag;          /* of a replica with a trusted sample; or FLEET_LAG_UNKNOWN */
    duration lag_counts;   /* limits below it are exceeded: see fleet_lag_counts */
    uint32_t unanswered;   /* probes in a row without an answer */
    moment unanswered_since;
    struct backend_ruling ruling; /* of the arbiter, if `ruled` */
    bool ruled;
    bool silent;                 /* the arbiter's latest answer is missing */
    uint32_t denials;            /* rulings in a row that it is not the primary */
    uint64_t unanswered_rulings; /* for the console */
    struct fleet_pace pace;
    struct fleet_window window; /* of the failures that counted */
    uint16_t priority;
    uint16_t weight;
    bool near; /* in the zone of the service's process */
    char zone[FLEET_ZONE_SIZE];
    bool drained;  /* by the operator */
    uint32_t seen; /* for one walk over slots: its place in a list of backends */
    uint32_t own;  /* for one question: the slots of the pool that asks */
    bool crowded;  /* NOT_READY because it has no room: due once a connected slot ends */
    bool obsolete;
    bool replaced;  /* calls itself primary, but another one is: see primary.h */
    uint32_t epoch; /* incremented when the backend fails and when it recovers, see slot_failed() */
    uint32_t releases; /* connected slots that have ended */
    uint32_t slots;    /* logins <= slots */
    uint32_t logins;   /* slots whose login is in progress */
    uint64_t failures; /* for the console */
};

struct service {
    char *name;
    struct fleet_limits limits;
    struct list backends; /* as the resolver named them, then the obsolete ones */
    uint64_t ids;
    uint32_t share_count; /* filled entries of `shares` */
    uint32_t references;  /* the owner's, and one for each struct slots */
    bool wants_resolving;
    bool judged;     /* something that pools go by has changed since service_judge() said so */
    uint64_t system; /* of most backends; 0: not known */
    struct fleet_lag lag;
    bool guarded;     /* slots for pools that need the primary are granted at `primary` only */
    bool held;        /* pools that need the primary get no slots */
    uint64_t primary; /* a backend's id; 0: none */
    bool graded;      /* the resolver gave priorities, weights or zones */
    struct fleet_random random;
    char zone[FLEET_ZONE_SIZE];
    /* For one choice at a time: the healthy backends. */
    struct backend *healthy[SERVICE_BACKENDS_MAX];
    struct fleet_candidate candidates[SERVICE_BACKENDS_MAX];
    /* For one rebalancing at a time: all backends, and their shares. */
    struct backend *shared[SERVICE_BACKENDS_MAX];
    struct fleet_share shares[SERVICE_BACKENDS_MAX];
    moment latest; /* time of the latest event; "now" for the console */
};

struct slots {
    struct service *service; /* counted */
    enum fleet_target target;
    duration lag_max; /* replicas that lag more are not used; NO_LIMIT: all are */
    bool read_only; /* the pool's sessions begin read-only at a primary, as the last login found */
    struct list all;
    uint32_t max;
    uint32_t count;
    uint32_t moves; /* the next ones to where the pool has the fewest, see slots_moved() */
    /* The backend that had no room for this pool.  Each pool has its own pause, so that a pool at a
     * limit of its role or database does not take every probe that other pools could use. */
    uint64_t crowded_at; /* a backend's id; 0: none */
    uint32_t crowded_releases;
    moment crowded_since;
};

struct slot {
    struct node node; /* in slots->all */
    struct slots *slots;
    struct backend *backend;
    uint64_t id;
    moment since;
    uint32_t epoch; /* the backend's, when the login began */
    bool connected;
    bool useless; /* with `connected`: the login failed, the connection has not ended yet */
    bool found;   /* the login has found the backend's role: */
    enum backend_role role;
};

/** Sets the backend online and ends its pause. */
void backend_recover(struct backend *backend);
/** Sets the backend to `state`, NOT_READY or OFFLINE, and lengthens the pause before the next
 *  probe. */
void backend_fail(struct backend *backend, enum backend_state state, moment now);
/** Records that a connection was of no use after its login: NOT_READY, with pauses that grow until
 *  backend_useful(), although logins succeed in between. */
void backend_useless(struct backend *backend, moment now);
void backend_useful(struct backend *backend);
/** Records that the other side dropped a connection. */
void backend_suspect(struct backend *backend);
/** Fills service->shares for all backends: which of them are healthy, of use to the pool, and of
 *  the tier in use. */
void slots_share(const struct slots *slots);
/** Returns the backend's share; NULL: it came later than service_share(). */
struct fleet_share *backend_share(const struct backend *backend);
static_assert(TARGETS <= 8, "backend->refused has a bit for each");

/* Whether a pool may use a backend, by its role. */
enum fleet_fit { FIT_RIGHT, FIT_UNKNOWN, FIT_WRONG, FIT_LAGS };
enum fleet_fit slots_fit(const struct slots *slots, const struct backend *backend);
/** Returns whether the pool may use the backend, as far as its role is known. */
bool slots_fitting(const struct slots *slots, const struct backend *backend);
/** Returns when the pool may ask a backend with a wrong role for its role again: in the past if its
 *  role is not wrong, NEVER if it lags.  `others`: other backends serve the pool. */
deadline slots_role_due(const struct slots *slots, const struct backend *backend, bool others);
/** Returns whether the rules about the primary let the pool have slots there. */
bool slots_may_use(const struct slots *slots, const struct backend *backend);
/** Returns whether the backend is healthy for the pool: online, not of a wrong role, and to stay.
 */
bool slots_served_by(const struct slots *slots, const struct backend *backend);
/** Drops a ruling that is about another role than the backend has. */
void backend_fit_ruling(struct backend *backend);
/** Returns whether the arbiter says that this replica may not be read from. */
bool backend_barred(const struct backend *backend);
/** Records that a login found a role that the pool may use. */
void slot_found_right(struct slot *slot, enum backend_role role, moment now);
/** Records that a login found a role that the pool may not use. */
void slot_found_wrong(struct slot *slot, moment now);
/** Returns when the backend's pause ends: in the past if it has none. */
deadline backend_due(const struct backend *backend);
/** Frees old names of a backend without slots; frees the backend too if it is obsolete. */
void backend_settle(struct backend *backend);
/** Drops one reference; the last one frees. */
void service_unref(struct service **service);
