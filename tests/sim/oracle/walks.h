#pragma once
/*
 * walks.h - connections for replication: each has a server of its own, which hears of nobody else,
 * and what its client says while it is streamed to arrives once and in order.
 *
 * A walk has a number, which stands in its application_name.
 */
#include "base/span.h"

struct model_session_view;

#define WALK_NAME 32 /* bytes of its application_name */

void walks_init(void);
void walks_fini(void);
/** Somebody wants to log in for it. */
uint32_t walks_enrol(void);
void walks_name(uint32_t walk, char name[WALK_NAME]);
/** What it asks next. */
void walks_ask(uint32_t walk, const char *text);
/** What it says next while it is streamed to: a number that counts on. */
uint64_t walks_reply(uint32_t walk);
/** All that it has said has arrived. */
void walks_check_heard(uint32_t walk);
/** It has logged in, and was told that its server has this pid. */
void walks_greet(uint32_t walk, uint32_t pid);
/** It was refused because there are too many. */
void walks_check_refusal(uint32_t walk);
/** Its client has gone. */
void walks_leave(uint32_t walk);

/** What happens to its server. */
void walks_began(const struct model_session_view *session);
void walks_ended(const struct model_session_view *session);
void walks_run(const struct model_session_view *session, struct span text);
void walks_replied(void *argument, const struct model_session_view *session, struct span body);
/** Servers of those who have gone are gone. */
void walks_check(void);
