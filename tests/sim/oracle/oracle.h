#pragma once
/*
 * oracle.h - what must hold at every moment of a run, whatever the world does.
 *
 * Watches the model of PostgreSQL (statements as they begin, sessions as they come and go) and the
 * people.  What a client can see by itself is proven where it reads (batch.c).  To add an
 * invariant, write a check here and call it from the event of `model_watch` at which it must hold.
 */
#include "people/person.h"

struct model;
struct model_watch;

#define ORACLE_LOGINS_MAX 65536u

void oracle_init(void);
void oracle_fini(void);
/** What the model is to call. */
struct model_watch oracle_watch(void);
/** A login of its own for everyone who connects. */
uint32_t oracle_enrol(struct person *person);
/** It is gone: what it has left may be cancelled and rolled back. */
void oracle_depart(struct person *person);
/** From time to time, on the model's machine: what may be so for a moment must not last. */
void oracle_look(const struct model *model);
/** After the last client has gone. */
void oracle_end(const struct model *model);
