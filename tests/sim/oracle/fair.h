#pragma once
/*
 * fair.h - that nobody waits for longer than is right.
 */
#include "people/person.h"

/** A statement of this client begins at the server. */
void fair_begins(struct person *person);
/** It still waits. */
void fair_waits(const struct person *person);
