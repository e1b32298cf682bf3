#pragma once
/*
 * spread.h - the choice among several servers of a service: priorities, zones, drains, pace,
 * shares.
 */
#include "base/span.h"
#include "base/time.h"

struct model;
struct model_session_view;
struct sim_client;

void spread_init(void);
/** A server login has succeeded. */
void spread_began(const struct model *model, const struct model_session_view *session);
/** A client's statement begins on a server that was free. */
void spread_claimed(const struct model_session_view *session, uint32_t login);
/** A client's statement begins. */
void spread_check_role(const struct model_session_view *session);
/** Whether the pooler ends the login at once, because the server has the wrong role. */
bool spread_is_refused(const struct model_session_view *session);
/** Checks what the refusal of a claim says. */
void spread_check_refusal(struct span message, moment since);
/** The same for the first claim of a batch, which began since then or later. */
void spread_check_shed(struct span message, moment since);
/** When all clients are idle: waits until the connections must have levelled out, and checks that
 *  they have.  Suspends. */
void spread_check_rest(const struct model *model);
