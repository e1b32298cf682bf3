#pragma once
/*
 * flight_check_parts.h - a question in front of a statement, in its transaction: which server
 * executes it, and in what state its session is.
 *
 * A strict answer counts only if it comes from the server that the feed follows, and from a session
 * without temporary tables whose settings are those of the others.  The question and the statement
 * are one batch up to its Sync, so the same session answers both, the question first.
 */
#include "flight/origin.h"
#include "relay/flight/flight_session_parts.h"

#define FLIGHT_CHECK_ROW_MAX 1024u

struct flight_check {
    struct flight_sink sink;
    struct flight_sink *inner; /* gets the replies to the statement, and errors */
    /* Called with what the question has found, before the statement's replies; a fault ends the
     * session. */
    fault (*found)(struct flight_check *check);
    struct buffer row;
    uint8_t left; /* replies to the question that have not come */

    struct origin_server server;
    uint32_t pid;
    uint64_t settings; /* a digest of those that change answers, and of the user */
    bool temporary;    /* the session has had temporary tables */
    bool serializable; /* its transactions are */
};

/** Appends the question's messages, without a Sync.  `named`: as a named statement, which a server
 *  has to plan only once. */
void flight_check_put(struct buffer *batch, bool named);
/** Begins a check; `inner` and `found` as above. */
void flight_check_init(struct flight_check *check, struct flight_sink *inner,
                       fault (*found)(struct flight_check *check));
void flight_check_fini(struct flight_check *check);
/** Whether the question has been answered. */
bool flight_check_done(const struct flight_check *check);
