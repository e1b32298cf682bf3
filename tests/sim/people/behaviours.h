#pragma once
/*
 * behaviours.h - everything that clients do.
 *
 * One file per family: do_simple.c, do_extended.c, do_transaction.c, do_copy.c, do_copy_syncs.c,
 * do_death.c,
 * do_session.c, do_odd.c, do_password.c,
 * do_statement.c, do_strange.c, do_certificate.c, do_replication.c; hostile clients have their own,
 * do_hostile.c.  A behaviour begins and ends outside of a transaction, unless it closes the
 * connection.
 */
#include "people/person.h"

typedef fault (*behaviour)(struct person *person);

#define BEHAVIOUR(name, weight, kind) fault do_##name(struct person *person) MUST_USE;
#include "people/behaviours.def"
#undef BEHAVIOUR

/** What a hostile client does, whatever state its connection is in. */
fault hostile_acts(struct person *person) MUST_USE;
/** One that the plan allows. */
behaviour behaviour_draw(struct person *person);
