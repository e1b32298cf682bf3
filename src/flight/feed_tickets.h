#pragma once
/*
 * feed_tickets.h - requests that ask a feed whether it has told all that was committed before them.
 *
 * Pure steps, on the feed's thread.  A ticket waits for a probe that is sent after its arrival,
 * then until the feed has passed the end of the log that this probe has read.  The lists own
 * nothing: a ticket is its asker's again when it is answered.  Design: docs/internals/feed.md
 */
#include "base/list.h"
#include "base/time.h"
#include "machine/machine.h"

struct feed;

enum feed_verdict {
    FEED_BYPASS, /* not known in time: the request must be executed */
    FEED_READY,  /* all that was committed before the ticket arrived has raised its generations */
};

struct feed_ticket {
    struct mail mail; /* on its way to the feed; the asker's own before and after */
    struct node node;
    struct feed *feed;
    /* Called on the feed's thread, must not suspend.  The ticket is the asker's again. */
    void (*answered)(struct feed_ticket *ticket);
    moment asked;
    duration timeout;  /* from then on; the asker's */
    uint64_t position; /* that the feed must pass */
    uint64_t epoch;    /* of the source that was asked; of a READY ticket */
    enum feed_verdict verdict;
};

struct feed_tickets {
    struct list arrived; /* wait for the next probe */
    struct list sent;    /* of the probe that is under way */
    struct list passing; /* wait for the feed, in the order of their positions */
};

void feed_tickets_init(struct feed_tickets *tickets);
/** Adds a ticket that waits for the next probe. */
void feed_tickets_arrive(struct feed_tickets *tickets, struct feed_ticket *ticket);
/** A probe is sent now: it serves all that have arrived.  No other may be under way. */
void feed_tickets_send(struct feed_tickets *tickets);
/** The probe's answer: the feed must pass this position, and those of earlier probes. */
void feed_tickets_place(struct feed_tickets *tickets, uint64_t position);
/** Answers those whose position has been passed.  Returns how many. */
uint32_t feed_tickets_pass(struct feed_tickets *tickets, uint64_t passed, uint64_t epoch);
/** Answers those whose time is over by BYPASS.  Returns how many. */
uint32_t feed_tickets_expire(struct feed_tickets *tickets, moment at);
/** Answers all of them by BYPASS.  Returns how many. */
uint32_t feed_tickets_refuse(struct feed_tickets *tickets);
/** When the time of one is over; never before that.  NEVER: there is none. */
deadline feed_tickets_due(const struct feed_tickets *tickets);
