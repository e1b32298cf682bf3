#pragma once
/*
 * async.h - asynchronous messages must arrive: notices, notifications, parameter reports.
 *
 * The model reports each one that it sends, with the login that owns the session.  That login must
 * read each message exactly once, in order, and before the end of the query during which it was
 * sent.  A message of a session without an owner may reach the next client of that server, once, or
 * none.
 */
#include "clients/client.h"

void async_init(void);
void async_fini(void);
/** A session of this login has sent a message; 0: the session has no owner. */
void async_sent(uint32_t login, uint8_t type, struct span body);
/** The session sends ReadyForQuery: all messages before it are due. */
void async_due(uint32_t login);
/** The statement that runs for this login may run again elsewhere: what was sent since it began may
 *  reach the client or not. */
void async_forgive(uint32_t login);
/** The statement runs again elsewhere, because the connection was lost: all that was sent may reach
 *  the client or not. */
void async_lose(uint32_t login);
/** The client has read an asynchronous message. */
void async_received(const struct sim_client *client, const struct wire_frame *frame);
/** The client has read all its replies: no message that is due is missing. */
void async_check_all(const struct sim_client *client);
/** The client is idle and reads: no message is in transit for longer than `max`. */
void async_check_prompt(const struct sim_client *client, duration max);
/** The connection has ended. */
void async_forget(uint32_t login);
