#pragma once
/*
 * console.h - the administration console: a database with a name of its own that speaks
 * PostgreSQL's wire protocol.
 *
 * Serves one logged-in client on its relay, on the coroutine of its login.  Commands are rows of a
 * table; a look at every machine gathers what they show.  Changes state only through calls of the
 * pooler.
 */
struct buffer;
struct client;
struct pooler;

/** Sends the rest of the login (parameters, cancel key, ReadyForQuery), then answers commands until
 *  the client disconnects or is cancelled.  The caller closes the client.  Suspends. */
void console_serve(struct client *client, struct pooler *pooler);
/** Appends the manual's page about the console, docs/console.md. */
void console_print_manual(struct buffer *out);
