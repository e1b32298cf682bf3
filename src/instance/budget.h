#pragma once
/*
 * budget.h - checks whether the file descriptor limit suffices for the configuration.
 *
 * Every client, every server and every cancel request in progress needs one descriptor.  Servers
 * get theirs first: a refused client gets an error that says why, but a client whose server can't
 * be reached does not.  The pooler enforces the budget: clients are counted when they are accepted,
 * servers before they are connected.
 */
#include "config/config.h"
#include "pooler/pooler.h"

/** Raises the descriptor limit as far as possible and divides it among clients, servers and cancel
 *  requests.  Logs a warning with all numbers if fewer clients than configured can be served.
 *  Fault: LIMIT, if not even one client can be served. */
fault budget_make(const struct config *config, struct pooler_budget *ret) MUST_USE;
