#include "config/cache_rules.h"

#include "base/like.h"
#include "base/settings.h"
#include "query/analysis.h"
#include "query/hint.h"

#include <inttypes.h>

/* --- one rule --------------------------------------------------------------------------------- */

/* Whether a name of a rule denotes an object as the text names it.  A name without a schema denotes
 * those in every schema, so that a text can't escape a rule by naming the schema. */
static bool denotes(const char *name, const struct query_object *object)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return span_is(object->name, name);
    return span_equal(object->schema, span_of(name, (size_t)(dot - name))) &&
           span_is(object->name, dot + 1);
}

static bool has_object(const char *const *names, size_t count, const struct query_object *object)
{
    for (size_t i = 0; i < count; i++)
        if (denotes(names[i], object))
            return true;
    return false;
}

static bool reads_one(const struct cache_match *match, const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->reads_count; i++)
        if (has_object(match->tables, match->table_count, &analysis->reads[i].is))
            return true;
    return false;
}

static bool calls_one(const struct cache_match *match, const struct query_analysis *analysis)
{
    for (uint16_t i = 0; i < analysis->functions_count; i++)
        if (has_object(match->functions, match->function_count, &analysis->functions[i].is))
            return true;
    return false;
}

static bool needs_analysis(const struct cache_match *match)
{
    return match->table_count > 0 || match->function_count > 0 || match->fingerprint_text != NULL;
}

/* Whether the analysis fits; one that was not parsed fits no rule that needs it. */
static bool analysis_matches(const struct cache_match *match, const struct query_analysis *analysis)
{
    return analysis->statement != QUERY_STATEMENT_UNPARSED &&
           (match->fingerprint_text == NULL || match->fingerprint == analysis->fingerprint) &&
           (match->table_count == 0 || reads_one(match, analysis)) &&
           (match->function_count == 0 || calls_one(match, analysis));
}

/* --- the choice ------------------------------------------------------------------------------- */

enum cache_choice cache_rules_choose(const struct cache_config *cache, struct span text,
                                     const struct query_analysis *analysis, size_t *ret)
{
    for (size_t i = 0; i < cache->rule_count; i++) {
        const struct cache_match *match = &cache->rules[i].match;
        if (match->text != NULL && !span_like(text, span_text(match->text)))
            continue;
        if (needs_analysis(match)) {
            if (analysis == NULL)
                return CACHE_CHOICE_UNKNOWN;
            if (!analysis_matches(match, analysis))
                continue;
        }
        *ret = i;
        return CACHE_CHOICE_RULE;
    }
    return CACHE_CHOICE_NONE;
}

/* --- hints ------------------------------------------------------------------------------------ */

/* As the settings `ttl` of a rule. */
static const struct setting ttl_word = {
    .kind = SETTING_DURATION, .min = 1000, .max = INT64_C(365) * 86400 * 1000000};

/* A shadow rule tries the hint's mode: no hint makes it answer from memory. */
static void take_mode(struct cache_rule *rule, enum cache_mode mode)
{
    bool tries = rule->of != CACHE_OFF;
    rule->mode = (uint16_t)(tries ? CACHE_SHADOW : mode);
    if (tries)
        rule->of = (uint16_t)mode;
}

static void take_word(struct span word, struct cache_rule *rule)
{
    int64_t us;
    if (span_is(word, "off")) {
        rule->mode = CACHE_OFF;
    } else if (span_is(word, "dedupe")) {
        take_mode(rule, CACHE_DEDUPE);
    } else if (span_starts(word, SPAN("ttl=")) &&
               setting_read(&ttl_word, span_skip(word, 4), &us)) {
        take_mode(rule, CACHE_TTL);
        rule->ttl.us = us;
    }
}

void cache_rules_hint(struct span text, struct cache_rule *rule)
{
    struct span hints[QUERY_HINTS_MAX], word;
    size_t count = query_hints(text, hints);
    for (size_t i = 0; i < count; i++)
        while (query_hint_word(&hints[i], &word))
            take_word(word, rule);
}

/* --- texts ------------------------------------------------------------------------------------ */

const char *cache_rules_mode_text(uint16_t mode)
{
    static const char *const texts[] = {
        [CACHE_OFF] = "off",       [CACHE_DEDUPE] = "dedupe", [CACHE_TTL] = "ttl",
        [CACHE_STRICT] = "strict", [CACHE_SHADOW] = "shadow",
    };
    invariant(mode < ARRAY_SIZE(texts));
    return texts[mode];
}

static void write_part(struct buffer *out, size_t start, const char *name)
{
    buffer_printf(out, "%s%s=", out->size > start ? " " : "", name);
}

static void write_names(struct buffer *out, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "%s%s", i > 0 ? "," : "", names[i]);
}

void cache_rules_write_match(const struct cache_match *match, struct buffer *out)
{
    size_t start = out->size;
    if (match->text != NULL) {
        write_part(out, start, "text");
        buffer_append_text(out, match->text);
    }
    if (match->table_count > 0) {
        write_part(out, start, "tables");
        write_names(out, match->tables, match->table_count);
    }
    if (match->function_count > 0) {
        write_part(out, start, "functions");
        write_names(out, match->functions, match->function_count);
    }
    if (match->fingerprint_text != NULL) {
        write_part(out, start, "fingerprint");
        buffer_printf(out, "%016" PRIx64, match->fingerprint);
    }
    if (out->size == start)
        buffer_append_text(out, "all");
}
