#pragma once
/*
 * outline.h - what a SQL text is: SHOW STATEMENTS counts by it, the firewall judges by it.
 *
 * Made from the analysis of the text (analysis.h), immutable, counted by references, and free of
 * the text's constants.  The same text has the same outline in every session: names are as the text
 * has them, and which object an unqualified name denotes is not known.
 */
#include "query/analysis.h"

/* Bytes of the text that is shown; the rest is cut. */
#define QUERY_SHOWN_MAX 2048u

struct query_outline {
    uint32_t references;  /* atomic */
    uint32_t bytes;       /* of memory */
    uint64_t fingerprint; /* 0: not parsed */
    uint64_t verbs;       /* set of (1 << enum query_verb), of all statements, also inner ones */
    uint16_t statements;  /* of the text; 0: it is empty, or not parsed */
    uint16_t relations_count;
    uint16_t functions_count;
    bool parsed;    /* false: too large, too deep, or not in the grammar; then nothing is known */
    bool partial;   /* parsed, but it names more objects than the lists hold */
    bool unbounded; /* has an UPDATE or a DELETE without WHERE */
    /* Each relation once for each access.  QUERY_ACCESS_NAMED: see struct query_named. */
    const struct query_relation *relations;
    const struct query_object *functions;
    /* The text with $n for each constant, without comments; of other statements than SELECT,
     * INSERT, UPDATE, DELETE and MERGE only the command. */
    struct span shown;
};

/** Makes the outline of a text; a NUL ends it.  The caller owns the reference.  Takes as long and
 * as much stack as query_analyze, so call it on an offload thread.  Faults: MEMORY. */
fault query_outline_new(struct span text, struct query_outline **ret) MUST_USE;
/** The outline of a text that is not parsed, such as one that is too large.  The caller owns a
 *  reference.  Takes no time, unlike query_outline_new, which says the same of such a text. */
struct query_outline *query_outline_unparsed(void);
/** Counts one more reference to an outline to which the caller has one.  From any thread. */
struct query_outline *query_outline_ref(struct query_outline *outline);
void query_outline_unref(struct query_outline **outline); /* NULL-safe */
/** Whether one of the statements has this verb. */
static inline bool query_outline_does(const struct query_outline *outline, enum query_verb verb)
{
    return (outline->verbs & UINT64_C(1) << verb) != 0;
}
