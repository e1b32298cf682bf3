#pragma once
/*
 * behaviours.h - the actions of clients.
 *
 * One file per family: behave_simple.c, behave_extended.c, behave_transaction.c, behave_copy.c,
 * behave_copy_syncs.c, behave_disconnect.c, behave_session.c, behave_unusual.c, behave_password.c,
 * behave_statement.c, behave_invalid.c, behave_certificate.c, behave_replication.c,
 * behave_registers.c, behave_answers.c; hostile clients have their own, behave_hostile.c.  A
 * behaviour begins and ends outside of a transaction, or closes the connection.
 */
#include "clients/client.h"

typedef fault (*behaviour)(struct sim_client *client);

#define BEHAVIOUR(name, weight, kind) fault behave_##name(struct sim_client *client) MUST_USE;
#include "clients/behaviours.def"
#undef BEHAVIOUR

/** One round of a hostile client, in any state of its connection. */
fault hostile_round(struct sim_client *client) MUST_USE;
/** Draws a behaviour that the plan has. */
behaviour behaviour_draw(struct sim_client *client);
