#pragma once
/*
 * cache_rules.h - which rule of a route's `cache` is for a statement.
 *
 * The first rule that matches is used; a hint in the statement's comments may change it, if the
 * route has `cache_hints`.  Pure; any thread.  Design: docs/internals/flight.md
 */
#include "base/buffer.h"
#include "config/config.h"

struct query_analysis;

enum cache_choice {
    CACHE_CHOICE_NONE,    /* no rule matches */
    CACHE_CHOICE_RULE,    /* *ret is the rule's number, from 0 */
    CACHE_CHOICE_UNKNOWN, /* the text alone does not tell: call again with its analysis */
};

/** Chooses the rule for a text.  `analysis`: of the text; NULL: not made yet. */
enum cache_choice cache_rules_choose(const struct cache_config *cache, struct span text,
                                     const struct query_analysis *analysis, size_t *ret);
/** Changes a copy of the rule as the hints of the text say: `off`, `dedupe`, `ttl=` with a
 *  duration.  The last word that is one of these decides; others mean nothing. */
void cache_rules_hint(struct span text, struct cache_rule *rule);

/** Counts what became of a statement of a rule. */
static inline void cache_rules_count(const struct cache_rule *rule, enum cache_count what)
{
    if (rule->counts != NULL)
        __atomic_fetch_add(&rule->counts->all[what], 1, __ATOMIC_RELAXED);
}
/** Counts a statement that the verdict refuses, with its reason. */
static inline void cache_rules_count_refused(const struct cache_rule *rule, uint32_t reason)
{
    invariant(reason < CACHE_REASONS_MAX);
    cache_rules_count(rule, CACHE_COUNT_REFUSED);
    if (rule->counts != NULL)
        __atomic_fetch_add(&rule->counts->reasons[reason], 1, __ATOMIC_RELAXED);
}

/** The word for a mode in the configuration. */
const char *cache_rules_mode_text(uint16_t mode);
/** Appends what a rule matches, as text for the console: `text=... tables=...`; "all" if it is
 *  every statement. */
void cache_rules_write_match(const struct cache_match *match, struct buffer *out);
