#pragma once
/*
 * fairness.h - the order of claims, and their deadlines.
 */
#include "clients/client.h"

/** The client has a server; perhaps none of its statements has begun. */
void fairness_served(struct sim_client *client);
/** A statement of the client begins on a server. */
void fairness_began(struct sim_client *client);
/** Its statements have replies: further ones need another claim. */
void fairness_answered(struct sim_client *client);
/** Checks the deadlines of a client that waits. */
void fairness_check_wait(const struct sim_client *client);
/** It logs in: notes on which version of the routes. */
void fairness_logged_in(struct sim_client *client);
/** It is connected: checks that drain_timeout has not ended the version of its route. */
void fairness_check_drain(const struct sim_client *client);
