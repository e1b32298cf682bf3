#pragma once
/*
 * flight_lost_parts.h - asks the server whether backends are gone whose connections were lost with
 * writes in doubt (flight/inside.h).
 */
#include "flight/origin.h"
#include "relay/flight/flight_session_parts.h"

/** Asks if there are any, and ends the doubt about those that are gone.  If the question fails, the
 *  doubt stays.  Suspends. */
void flight_lost_ask(struct flight_session *session, struct origin *origin, uint64_t epoch);
