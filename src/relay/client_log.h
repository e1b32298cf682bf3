#pragma once
/* client_log.h - what the log says of clients: who came and went, who served them, what was slow.
 */
#include "base/span.h"

struct client;
struct server;

/** Keeps the beginning of the text that a message of the client's asks for, if none is kept yet. */
void client_log_text(struct client *client, struct server *server, uint8_t type, struct span body);
/** A query took longer than its route's slow_query. */
void client_log_slow(const struct client *client, const struct server *server, int64_t us);

void client_log_came(const struct client *client, const char *database, const char *user);
/** Its server is about to be taken from it: what its last line says. */
void client_log_parting(struct client *client, const struct server *server);
void client_log_gone(const struct client *client, const char *reason);
/** At level debug: which server and backend a client's work is given to. */
void client_log_assigned(const struct client *client, const struct server *server);
