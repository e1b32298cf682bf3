#pragma once
/*
 * arrivals.h - what a server says unasked must arrive: notices, notifications, parameter reports.
 *
 * The model says when it writes one, to a session that belongs to a login.  That login must read
 * each of them exactly once, in the order in which they were written, and before the end of what it
 * had asked when they were written.  What is said to nobody's session may reach whoever has that
 * server next, once, or nobody.
 */
#include "people/person.h"

void arrivals_init(void);
void arrivals_fini(void);
/** A session of this login was told something; 0: it is nobody's. */
void arrivals_told(uint32_t login, uint8_t type, struct span body);
/** ReadyForQuery goes to it behind that: what was told so far is due with it. */
void arrivals_are_due(uint32_t login);
/** Its client has read a message of these kinds. */
void arrivals_heard(const struct person *person, const struct wire_frame *frame);
/** Its client has read all answers to what it has asked. */
void arrivals_prove_all(const struct person *person);
/** It reads all the time, and asks for nothing: nothing is under way for longer than `most`. */
void arrivals_prove_prompt(const struct person *person, duration max);
/** The connection has ended. */
void arrivals_forget(uint32_t login);
