#pragma once
/*
 * flight_watch.h - writes of clients, for answers that others share.
 *
 * A route whose service has cache rules is watched.  Before a client of such a route gets anything
 * of the reply to what is not proven to be a read, the generation of its whole database is raised:
 * so a client that asks after it has heard of a write never gets the answer of an execution that
 * began before.
 */
struct turn;

/** Looks at what the client has sent, before it is walked. */
void flight_watch_look(struct turn *turn);
/** Raises the generation, before replies go to the client. */
void flight_watch_raise(const struct turn *turn);
