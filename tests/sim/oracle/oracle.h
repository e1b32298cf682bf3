#pragma once
/*
 * oracle.h - invariants that hold at every moment of a run.
 *
 * Observes the model of PostgreSQL (statements, sessions) and the clients.  What a client can check
 * itself is checked where it reads (batch.c).  To add an
 * invariant, write a check here and call it from the event of `model_watch` at which it must hold.
 */
#include "clients/client.h"

struct model;
struct model_watch;

#define ORACLE_LOGINS_MAX 65536u

void oracle_init(void);
void oracle_fini(void);
/** Returns the callbacks of the model. */
struct model_watch oracle_watch(void);
/** Returns the number of a new login. */
uint32_t oracle_add_login(struct sim_client *client);
/** A login has ended: its statements may be cancelled and rolled back. */
void oracle_end_login(struct sim_client *client);
/** Checks, at intervals, states that may hold only for a moment. */
void oracle_poll(const struct model *model);
/** The checks after the last client has disconnected. */
void oracle_end(const struct model *model);
