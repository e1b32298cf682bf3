#pragma once
/*
 * reads.h - reads at standbys: a client's reads see what it has written, and never go back in time.
 */
#include "base/span.h"

struct model_session_view;

/* What a login has seen. */
struct reads_seen {
    uint64_t place; /* in the log */
    uint64_t text;  /* hash of the latest statement that began at a standby */
};

/** Whether a statement that begins has begun at a standby before: its connection was lost there. */
bool reads_begin_again(struct span text, const struct reads_seen *seen);
/** A client's statement begins. */
void reads_began(const struct model_session_view *session, uint32_t login, struct span text,
                 struct reads_seen *seen);
/** Whether a statement with this end may run again, at the primary. */
bool reads_run_again(const struct model_session_view *session, const char *sqlstate);
/** It has ended; `sqlstate`: NULL: well. */
void reads_ended(const struct model_session_view *session, uint32_t login, const char *sqlstate,
                 struct reads_seen *seen);
