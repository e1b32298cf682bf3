#pragma once
/*
 * shedding.h - with the kind `overload`: which claims are shed.
 *
 * There is one relay and one pool, and nothing is delayed.  While every claim that gets a server
 * has waited for claim_delay_target or longer, one is shed within claim_delay_interval.  None is
 * shed within that time after one that had not waited so long.
 */
#include "base/span.h"

struct model_session_view;
struct sim_client;

void shedding_init(void);
/** A statement of the client begins; it has claimed the server for it. */
void shedding_served(const struct sim_client *client);
/** A statement without the number of a login begins: a claim may have had to wait for it or not. */
void shedding_served_unknown(struct span text);
/** A server becomes free. */
void shedding_freed(const struct model_session_view *session);
/** The client reads an error. */
void shedding_check(const struct sim_client *client, struct span message);
