#include "config/firewall.h"

#include "base/check.h"
#include "query/outline.h"

#define VERB_BIT(name) (UINT64_C(1) << QUERY_VERB_##name)
/* Begin and end transactions.  A rule of `allow` need not list them: a client that could not end
 * its transaction would keep its locks. */
#define VERBS_OF_TRANSACTIONS                                                                      \
    (VERB_BIT(BEGIN) | VERB_BIT(COMMIT) | VERB_BIT(ROLLBACK) | VERB_BIT(SAVEPOINT) |               \
     VERB_BIT(RELEASE))

/* The fingerprints of these leave out what they would run, which counts as a constant. */
#define VERBS_WITH_BODIES (VERB_BIT(DO) | VERB_BIT(CREATE))

/* --- names ------------------------------------------------------------------------------------ */

/* Whether a name of a rule of `deny` may denote an object as the text names it: one of the two may
 * leave the schema out. */
static bool may_denote(const char *name, const struct query_object *object)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return span_is(object->name, name);
    return span_is(object->name, dot + 1) &&
           (object->schema.size == 0 ||
            span_equal(object->schema, span_of(name, (size_t)(dot - name))));
}

/* Whether a name of a rule of `allow` is the name in the text. */
static bool is_same(const char *name, const struct query_object *object)
{
    const char *dot = strchr(name, '.');
    if (dot == NULL)
        return object->schema.size == 0 && span_is(object->name, name);
    return span_is(object->name, dot + 1) &&
           span_equal(object->schema, span_of(name, (size_t)(dot - name)));
}

typedef bool (*compares)(const char *name, const struct query_object *object);

static bool in_list(const char *const *names, size_t count, const struct query_object *object,
                    compares same)
{
    for (size_t i = 0; i < count; i++)
        if (same(names[i], object))
            return true;
    return false;
}

/* --- one rule --------------------------------------------------------------------------------- */

/* The verbs of a text, with those that it does by the clauses of others: ON CONFLICT DO UPDATE. */
static uint64_t verbs_of(const struct query_outline *outline)
{
    static const uint64_t of_access[] = {
        [QUERY_ACCESS_INSERT] = VERB_BIT(INSERT),     [QUERY_ACCESS_UPDATE] = VERB_BIT(UPDATE),
        [QUERY_ACCESS_DELETE] = VERB_BIT(DELETE),     [QUERY_ACCESS_MERGE] = VERB_BIT(MERGE),
        [QUERY_ACCESS_TRUNCATE] = VERB_BIT(TRUNCATE), [QUERY_ACCESS_COPY] = VERB_BIT(COPY),
        [QUERY_ACCESS_REFRESH] = VERB_BIT(REFRESH),
    };
    uint64_t verbs = outline->verbs;
    for (uint16_t i = 0; i < outline->relations_count; i++)
        if (outline->relations[i].access < ARRAY_SIZE(of_access))
            verbs |= of_access[outline->relations[i].access];
    return verbs;
}

static bool has_fingerprint(const struct firewall_rule *rule, uint64_t fingerprint)
{
    for (size_t i = 0; i < rule->fingerprint_count; i++)
        if (rule->fingerprints[i] == fingerprint)
            return true;
    return false;
}

/* How many of the relations, or functions, are in the list of a rule. */
static size_t tables_in(const struct firewall_rule *rule, const struct query_outline *outline,
                        compares same)
{
    size_t count = 0;
    for (uint16_t i = 0; i < outline->relations_count; i++)
        count += in_list(rule->tables, rule->table_count, &outline->relations[i].is, same);
    return count;
}

static size_t functions_in(const struct firewall_rule *rule, const struct query_outline *outline,
                           compares same)
{
    size_t count = 0;
    for (uint16_t i = 0; i < outline->functions_count; i++)
        count += in_list(rule->functions, rule->function_count, &outline->functions[i], same);
    return count;
}

/* Whether the text has something of each list. */
static bool denies(const struct firewall_rule *rule, const struct query_outline *outline)
{
    return (rule->verb_count == 0 || (rule->verbs & verbs_of(outline)) != 0) &&
           (rule->fingerprint_count == 0 || has_fingerprint(rule, outline->fingerprint)) &&
           (rule->table_count == 0 || tables_in(rule, outline, may_denote) > 0) &&
           (rule->function_count == 0 || functions_in(rule, outline, may_denote) > 0);
}

/* Whether the text has nothing but what is in the lists. */
static bool allows(const struct firewall_rule *rule, const struct query_outline *outline)
{
    uint64_t others = verbs_of(outline) & ~(rule->verbs | VERBS_OF_TRANSACTIONS);
    return (rule->verb_count == 0 || others == 0) &&
           (rule->fingerprint_count == 0 ||
            ((others & VERBS_WITH_BODIES) == 0 && has_fingerprint(rule, outline->fingerprint))) &&
           (rule->table_count == 0 ||
            tables_in(rule, outline, is_same) == outline->relations_count) &&
           (rule->function_count == 0 ||
            functions_in(rule, outline, is_same) == outline->functions_count);
}

/* --- the verdict ------------------------------------------------------------------------------ */

static struct firewall_verdict verdict(enum firewall_reason reason,
                                       const struct firewall_rule *rule)
{
    return (struct firewall_verdict){reason, rule};
}

/* Whether the outline does not tell all that a text does.  EXECUTE runs what another text says. */
static bool is_opaque(const struct query_outline *outline)
{
    return outline == NULL || !outline->parsed || outline->partial ||
           query_outline_does(outline, QUERY_VERB_EXECUTE);
}

static struct firewall_verdict find_allowing(const struct firewall_config *firewall,
                                             const struct query_outline *outline)
{
    for (size_t i = 0; i < firewall->allow_count; i++)
        if (allows(&firewall->allows[i], outline))
            return verdict(FIREWALL_ALLOWED, &firewall->allows[i]);
    bool bare = (outline->verbs & ~VERBS_OF_TRANSACTIONS) == 0;
    return verdict(firewall->allow_count == 0 || bare ? FIREWALL_ALLOWED : FIREWALL_UNLISTED, NULL);
}

struct firewall_verdict firewall_judge(const struct firewall_config *firewall,
                                       const struct query_outline *outline)
{
    if (is_opaque(outline) && !firewall->allows_unparsed)
        return verdict(FIREWALL_UNPARSED, NULL);
    if (outline == NULL || !outline->parsed)
        return verdict(FIREWALL_ALLOWED, NULL);
    for (size_t i = 0; i < firewall->deny_count; i++)
        if (denies(&firewall->denies[i], outline))
            return verdict(FIREWALL_RULE, &firewall->denies[i]);
    if (outline->statements > 1 && !firewall->allows_several)
        return verdict(FIREWALL_SEVERAL, NULL);
    if (outline->unbounded && !firewall->allows_no_where)
        return verdict(FIREWALL_NO_WHERE, NULL);
    return find_allowing(firewall, outline);
}

struct firewall_verdict firewall_judge_call(const struct firewall_config *firewall)
{
    bool restricts = firewall->deny_count + firewall->allow_count > 0;
    return verdict(restricts && !firewall->allows_unparsed ? FIREWALL_UNPARSED : FIREWALL_ALLOWED,
                   NULL);
}

/* --- counts ----------------------------------------------------------------------------------- */

void firewall_count(const struct firewall_config *firewall, struct firewall_verdict verdict,
                    uint64_t fingerprint, bool denied, int64_t now)
{
    struct firewall_counts *counts =
        verdict.rule != NULL ? verdict.rule->counts : &firewall->counts[verdict.reason];
    __atomic_fetch_add(&counts->hits, 1, __ATOMIC_RELAXED);
    if (denied)
        __atomic_fetch_add(&counts->denied, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&counts->last, now, __ATOMIC_RELAXED);
    __atomic_store_n(&counts->last_fingerprint, fingerprint, __ATOMIC_RELAXED);
}

/* --- texts ------------------------------------------------------------------------------------ */

const char *firewall_reason_text(enum firewall_reason reason)
{
    static const char *const texts[FIREWALL_REASONS] = {
        [FIREWALL_ALLOWED] = "allowed",         [FIREWALL_RULE] = "deny",
        [FIREWALL_UNLISTED] = "allow",          [FIREWALL_UNPARSED] = "unparsed",
        [FIREWALL_SEVERAL] = "multi_statement", [FIREWALL_NO_WHERE] = "without_where",
    };
    invariant(reason < FIREWALL_REASONS);
    return texts[reason];
}

const char *firewall_verdict_name(struct firewall_verdict verdict)
{
    return verdict.rule != NULL ? verdict.rule->name : firewall_reason_text(verdict.reason);
}

const char *firewall_mode_text(uint16_t mode)
{
    static const char *const texts[] = {
        [FIREWALL_OFF] = "off",
        [FIREWALL_LEARN] = "learn",
        [FIREWALL_WARN] = "warn",
        [FIREWALL_ENFORCE] = "enforce",
    };
    invariant(mode < ARRAY_SIZE(texts));
    return texts[mode];
}

static void write_list(struct buffer *out, const char *name, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_printf(out, "%s%s%s",
                      i > 0           ? ","
                      : out->size > 0 ? " "
                                      : "",
                      i > 0 ? "" : name, texts[i]);
}

void firewall_write_match(const struct firewall_rule *rule, struct buffer *out)
{
    write_list(out, "verbs=", rule->verb_names, rule->verb_count);
    write_list(out, "tables=", rule->tables, rule->table_count);
    write_list(out, "functions=", rule->functions, rule->function_count);
    write_list(out, "fingerprints=", rule->fingerprint_texts, rule->fingerprint_count);
}
