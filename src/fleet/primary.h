#pragma once
/*
 * primary.h - which backend of a service is the primary, and the fence between two primaries.
 *
 * Pure steps.  The driver gives it the latest sample of each backend and the time; it says whom to
 * end connections to (a fence) and where new ones may be made (a grant).  Rules:
 *
 *   - Of backends that call themselves primary, the one on the highest line wins.
 *   - Several on that line: contested.  Nothing is granted until an operator chooses one, one of
 *     them is found to be a replica or leaves the service, or a higher line appears.
 *   - A sample that is older than `fresh` elects no server.  It takes nothing from the elected one:
 *     only another primary, or its own word that it is a replica, does.
 *   - For one system the line of the elected primary never goes back.
 *   - If another server answers at the elected one's address, on a higher line, that is a change of
 *     the primary too.
 *   - An arbiter may say of each whether it is the primary.  Of several on one line the only one
 *     that it has confirmed within `fresh` wins.  One that it denies is not elected, and disputes
 *     the claim of one on its line or a lower one that is neither confirmed nor elected.  The
 *     elected one is given up after PRIMARY_DENIALS_MAX denials in a row.  The operator's choice
 *     takes precedence.
 *   - Backends of another system than the elected one's are foreign, unless an operator chooses
 * one.
 *
 * Between two primaries all connections but those to the new one are ended.  The new one is granted
 * only when each relay has acknowledged that.  Design: docs/internals/failover.md
 */
#include "fleet/sample.h"

#include <stddef.h>

/* clang-format off */
/*
 *   UNPROVEN ──> FENCING <──> NONE, ELECTED, CONTESTED
 *
 * UNPROVEN   no primary was found yet since the start
 * FENCING    connections are being ended; nothing is granted
 * NONE       the elected one has said that it is a replica, or has left, and no other is known
 * ELECTED    slots are granted at `backend`
 * CONTESTED  several backends claim the same line
 */
/* clang-format on */
enum primary_state {
    PRIMARY_UNPROVEN,
    PRIMARY_FENCING,
    PRIMARY_NONE,
    PRIMARY_ELECTED,
    PRIMARY_CONTESTED,
    PRIMARY_STATES,
};

/* What the arbiter says of a backend that calls itself primary. */
enum primary_word { PRIMARY_UNSAID, PRIMARY_CONFIRMED, PRIMARY_DENIED };

/* An arbiter that was just started may deny all it is asked about. */
#define PRIMARY_DENIALS_MAX 3u

/* One backend of the service, as known now. */
struct primary_candidate {
    uint64_t backend; /* its id, never 0 */
    bool tried;       /* a probe of it has ended, with or without an answer */
    bool sampled;     /* `sample` holds the latest answer */
    struct backend_sample sample;
    moment moved; /* connections from before may be to another server: slot_before_move(); 0 */
    enum primary_word word;
    moment said;      /* when the arbiter was asked */
    uint32_t denials; /* in a row; 0 unless DENIED */
};

/* All zero at first. */
struct primary {
    enum primary_state state;
    uint64_t backend; /* ELECTED: who; FENCING: who will be, whose connections stay; 0: none */
    bool disputed;    /* FENCING: it will be CONTESTED */
    uint64_t system;  /* of the latest elected one; 0: none was */
    uint32_t line;    /* of the latest elected one */
    moment moved;     /* of `backend`, when the latest fence was ordered */
    uint64_t chosen;  /* by the operator, for `chosen_line` and `chosen_system`; 0: none */
    uint32_t chosen_line;
    uint64_t chosen_system;
    uint64_t epoch;   /* number of elections so far */
    uint64_t fence;   /* number of the latest fence */
    uint32_t awaited; /* FENCING: acknowledgements of that fence that are to come */
};

enum primary_order {
    PRIMARY_GOES_ON, /* nothing changes */
    PRIMARY_FENCE, /* grant nothing; end all connections but those to `backend`: primary_await() */
    PRIMARY_SETTLED, /* the fence is complete: act by `state` */
};

/** Judges anew.  `since`: when the first probe was sent; until each backend has been tried, or
 *  `fresh` has passed since then, no server is elected for the first time. */
enum primary_order primary_judge(struct primary *primary, const struct primary_candidate *all,
                                 size_t count, duration fresh, moment since, moment now) MUST_USE;
/** Sets how many acknowledgements of the fence that was just ordered are to come.  0: SETTLED. */
enum primary_order primary_await(struct primary *primary, uint32_t acknowledgements) MUST_USE;
/** Takes one acknowledgement of the fence with this number; those of earlier fences are ignored. */
enum primary_order primary_acknowledged(struct primary *primary, uint64_t fence) MUST_USE;

enum primary_choice {
    PRIMARY_CHOSEN,
    PRIMARY_NOT_PRIMARY, /* its sample is too old, or it does not call itself primary */
    PRIMARY_BEHIND,      /* its line is lower than that of the elected one */
};
/** The operator chooses this backend for its line; judge anew afterwards. */
enum primary_choice primary_choose(struct primary *primary, const struct primary_candidate *chosen,
                                   duration fresh, moment now) MUST_USE;
/** Returns whether the sample says that its backend is a primary which another one has replaced:
 *  nothing may be sent to it. */
bool primary_replaced(const struct primary *primary, const struct primary_candidate *candidate);

/** Returns the name of a state: "unproven", "fencing", "none", "elected", "contested". */
const char *primary_state_text(enum primary_state state);
