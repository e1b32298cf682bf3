#pragma once
/*
 * turn_firewall_names.h - what the prepared statements of a client are, where their names are the
 * server's own: session pools, and pools with `prepared_statements: off`.
 *
 * For the firewall only: it is empty as long as the route has none.  A name has the outlines of all
 * texts that it may stand for, because Trunkline does not see which Parse has failed.
 */
#include "base/span.h"

struct client;
struct query_outline;

/* Texts that one name may stand for. */
#define FIREWALL_NAME_OUTLINES 4u

/** Notes that a Parse of this name is about to be sent; the unnamed statement's is empty.  Without
 *  memory, or with too many names or texts, the name counts as unknown. */
void turn_firewall_names_add(struct client *client, struct span name,
                             struct query_outline *outline);
/** Notes that a Close of the name is about to be sent: the next Parse replaces what it stands for.
 */
void turn_firewall_names_close(const struct client *client, struct span name);
/** Returns how many outlines a name has, borrowed; 0: it is unknown. */
uint32_t turn_firewall_names_find(const struct client *client, struct span name,
                                  struct query_outline *const **ret);
/** Forgets all, when the client ends. */
void turn_firewall_names_forget(struct client *client);
