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
#include "relay/flight/flight_kept_parts.h"

#define FLIGHT_CHECK_ROW_MAX 1024u

/* Columns that say which server answers, as struct origin_server: system identifier, timeline in
 * hexadecimal digits, start.  No name or operator of a user is called, whatever search_path is. */
#define FLIGHT_SERVER_COLUMNS                                                                      \
    "(SELECT c.system_identifier FROM pg_catalog.pg_control_system() AS c),"                       \
    " CASE WHEN pg_catalog.pg_is_in_recovery() THEN '0' ELSE pg_catalog.substr("                   \
    "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,"                      \
    " (extract(epoch FROM pg_catalog.pg_postmaster_start_time())"                                  \
    " OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8"

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
    uint64_t version;  /* of PostgreSQL, as server_version_num */
    bool temporary;    /* the session has had temporary tables */
    bool serializable; /* its transactions are */
};

/** Returns the body of the question's Parse, behind the name. */
struct span flight_check_parse(void);
/** Appends the question's messages, without a Sync. */
void flight_check_put(struct buffer *batch, const struct flight_name *name);
/** Begins a check; `inner` and `found` as above. */
void flight_check_init(struct flight_check *check, const struct flight_name *name,
                       struct flight_sink *inner, fault (*found)(struct flight_check *check));
void flight_check_fini(struct flight_check *check);
/** Asks a session's server the question alone; *ret, which needs no flight_check_fini(), is the
 *  answer.  *ret_said: it has answered.  Suspends. */
fault flight_check_alone(struct flight_session *session, const struct flight_name *name,
                         struct flight_check *ret, bool *ret_said) MUST_USE;
/** Whether the question has been answered. */
bool flight_check_done(const struct flight_check *check);
