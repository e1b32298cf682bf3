#pragma once
/*
 * console.h - the administrators' console: a database of its own name that speaks SQL's wire
 * protocol.
 *
 * Serves one logged-in client on its relay, on its login's coroutine.  Commands are rows of a
 * table; what they show is gathered by a look at every machine.  Changes state only through the
 * pooler's calls.
 */
struct buffer;
struct client;
struct pooler;

/** Sends the rest of the login (parameters, key, ReadyForQuery), then answers commands until the
 *  client ends or is cancelled.  The caller closes it.  Suspends. */
void console_serve(struct client *client, struct pooler *pooler);
/** The manual's page about it, docs/console.md. */
void console_print_manual(struct buffer *out);
