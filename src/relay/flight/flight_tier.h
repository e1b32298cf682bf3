#pragma once
/*
 * flight_tier.h - a relay's part of the second tier of stored answers: its link to Redis, and the
 * servers that are known.
 *
 * On the relay.  Design: docs/internals/flight.md
 */
struct flight_tier;
struct l2_link;
struct relay;

/** Ends the link.  Suspends.  NULL-safe. */
void flight_tier_free(struct flight_tier **tier);
/** The relay's link to Redis; NULL: none is configured, or no memory. */
struct l2_link *flight_tier_link(struct relay *relay);
