#pragma once
/*
 * fencing.h - statements of pools that need the primary run at one primary at a time.
 *
 * When a statement of a client has run at a primary, nothing that is sent later reaches one on a
 * lower timeline.  On one timeline there is one such server, until it becomes a standby or an
 * administrator chooses another one.
 */
#include <stdbool.h>
#include <stdint.h>

struct model_session_view;

void fencing_init(void);
/** A statement begins; `login`: of the client, 0: of the pooler. */
void fencing_statement(const struct model_session_view *session, uint32_t login);
/** Returns whether the session's server has been replaced by another primary, which has run
 *  statements of clients. */
bool fencing_is_late(const struct model_session_view *session);

/** A server, by its number, has become a standby. */
void fencing_demoted(uint32_t number);
/** An administrator is about to choose this server for its timeline. */
void fencing_chosen(uint32_t number);
/** Two servers are primaries on the same timeline from now on, or not any more. */
void fencing_contested(bool is_contested);
/** Patroni's lock is held by this server, by its number, from now on. */
void fencing_led(uint32_t number);
/** This server, by its number, calls itself the primary without that lock. */
void fencing_promoted_apart(uint32_t number);
