#pragma once
/*
 * fair.h - that nobody waits for longer than is right.
 */
#include "people/person.h"

/** It has a server; none of its statements may have begun. */
void fair_is_served(struct person *person);
/** A statement of this client begins at the server. */
void fair_begins(struct person *person);
/** What its server was given is answered: what else it has asked has a claim of its own. */
void fair_rests(struct person *person);
/** It still waits. */
void fair_waits(const struct person *person);
