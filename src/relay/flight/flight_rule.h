#pragma once
/*
 * flight_rule.h - the rule of `cache` for a client's statement.
 *
 * The rules of the client's route, hints in the statement's comments, and the client's own
 * `trunkline.cache`.  A rule that names tables, functions or a fingerprint needs the statement's
 * analysis: the runner of the first flight has it made, and each relay remembers the outcome for
 * FLIGHT_RULE_TEXTS texts.  On the client's relay.
 */
#include "config/cache_rules.h"
#include "relay/turn/turn_batch_parts.h"

struct client;
struct flight_texts;
struct relay;

/* Texts that a relay remembers; two whose digests share a place replace each other. */
#define FLIGHT_RULE_TEXTS 1024u

enum flight_ruling {
    FLIGHT_RULE_NONE,  /* the statement is not for the cache */
    FLIGHT_RULE_FOUND, /* *ret is the rule; not CACHE_OFF */
    FLIGHT_RULE_LATER, /* its analysis decides: flight_rule_decide().  *ret is CACHE_DEDUPE */
};

/** Finds the rule for a statement, and counts why there is none.  `ret` is a copy, with the hints
 *  applied; it borrows from the client's configuration. */
enum flight_ruling flight_rule_find(const struct client *client, struct span text,
                                    struct cache_rule *ret);
/** Decides by the text's analysis, and remembers the outcome.  False: no rule matches, or it says
 *  off, or the analysis could not be made in time.  Suspends. */
bool flight_rule_decide(struct relay *relay, const struct config *config,
                        const struct cache_config *cache, struct span text, deadline by,
                        struct cache_rule *ret);
void flight_rule_forget(struct flight_texts **texts); /* NULL-safe */
