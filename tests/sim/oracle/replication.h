#pragma once
/*
 * replication.h - replication connections: each has a server that runs only the commands of its
 * client, and receives each status message once and in order.
 *
 * Each connection has a number, which is in its application_name.
 */
#include "base/span.h"

struct model_session_view;

#define REPLICATION_NAME 32 /* bytes of its application_name */

void replication_init(void);
void replication_fini(void);
/** A client is about to log in.  Returns the number. */
uint32_t replication_add(void);
void replication_name(uint32_t replication, char name[REPLICATION_NAME]);
/** Sets the command that the client sends next. */
void replication_set_command(uint32_t replication, const char *text);
/** Returns the number of the next status message. */
uint64_t replication_next_status(uint32_t replication);
/** Checks that the server has received all status messages. */
void replication_check_received(uint32_t replication);
/** The client has logged in; its server has this pid. */
void replication_logged_in(uint32_t replication, uint32_t pid);
/** Checks a refusal by replication_limit. */
void replication_check_refusal(uint32_t replication);
/** The client has disconnected. */
void replication_closed(uint32_t replication);

/** Events of the server. */
void replication_server_began(const struct model_session_view *session);
void replication_server_ended(const struct model_session_view *session);
void replication_statement(const struct model_session_view *session, struct span text);
void replication_server_received(void *argument, const struct model_session_view *session,
                                 struct span body);
/** Checks that servers end with their clients. */
void replication_check(void);
