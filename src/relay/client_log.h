#pragma once
/* client_log.h - log events about clients: connects, disconnects, servers given, slow queries. */
#include "base/span.h"

struct client;
struct server;

/** Keeps the beginning of the SQL text that a client's message refers to, if none is kept yet. */
void client_log_text(struct client *client, struct server *server, uint8_t type, struct span body);
/** The SQL text that a Query, a Parse or a Bind refers to, as far as the client's statements are
 *  known; may have a NUL and more behind it.  Empty: it is not known. */
struct span client_log_text_of(const struct client *client, uint8_t type, struct span body);
/** Logs a query that took longer than its route's slow_query. */
void client_log_slow(const struct client *client, const struct server *server, int64_t us);

/** Logs a client's login. */
void client_log_came(const struct client *client, const char *database, const char *user);
/** Logs a client's end, with its last server. */
void client_log_gone(const struct client *client, const char *reason);
/** Logs at level debug which server and backend a client is assigned to. */
void client_log_assigned(const struct client *client, const struct server *server);
