#pragma once
/*
 * firewall.h - which statements a route refuses, by what their text is.
 *
 * The rules are data of a configuration version.  The judge is pure: it is given what a text is
 * (query/outline.h) and returns which rule denies it.  What becomes of that (`learn`, `warn`,
 * `enforce`) is decided by the caller.  Any thread.  Design: docs/firewall.md
 */
#include "base/buffer.h"

struct query_outline;

enum firewall_mode {
    FIREWALL_OFF,     /* nothing is judged */
    FIREWALL_LEARN,   /* nothing is denied; what comes is remembered */
    FIREWALL_WARN,    /* nothing is denied; what would be is counted and logged */
    FIREWALL_ENFORCE, /* what a rule denies is not executed */
};

/* Why a statement is denied. */
enum firewall_reason {
    FIREWALL_ALLOWED,
    FIREWALL_RULE,     /* a rule of `deny` matches */
    FIREWALL_UNLISTED, /* there are rules of `allow`, and none is for it */
    FIREWALL_UNPARSED, /* what it is can't be told */
    FIREWALL_SEVERAL,  /* it is one of several statements in one text */
    FIREWALL_NO_WHERE, /* UPDATE or DELETE of all rows */
    FIREWALL_REASONS,
};

/* Counts since this version of the configuration came; atomics, from any thread. */
struct firewall_counts {
    uint64_t hits;   /* statements for which this decided */
    uint64_t denied; /* of these: they were refused */
    int64_t last;    /* monotonic microseconds of the latest; 0: none */
    uint64_t last_fingerprint;
};

/* A rule of `deny` or of `allow`.  What is empty restricts nothing. */
struct firewall_rule {
    const char *name;
    const char **verb_names;
    size_t verb_count;
    uint64_t verbs; /* set of enum query_verb; made of these */
    const char **tables;
    size_t table_count;
    const char **functions;
    size_t function_count;
    const char **fingerprint_texts;
    size_t fingerprint_count;
    uint64_t *fingerprints;         /* made of these */
    struct firewall_counts *counts; /* not NULL in a whole configuration */
};

struct firewall_config {
    uint16_t mode; /* enum firewall_mode */
    bool allows_unparsed;
    bool allows_several;
    bool allows_no_where;
    struct firewall_rule *denies; /* one that matches denies */
    size_t deny_count;
    struct firewall_rule *allows; /* if there are any, one must be for the statement */
    size_t allow_count;
    struct firewall_counts *counts; /* FIREWALL_REASONS of them, for all but FIREWALL_RULE */
};

struct firewall_verdict {
    enum firewall_reason reason;
    const struct firewall_rule *rule; /* FIREWALL_RULE, or of `allow`; NULL: none */
};

/** Judges a text by what it is; NULL: that can't be told. */
struct firewall_verdict firewall_judge(const struct firewall_config *firewall,
                                       const struct query_outline *outline);
/** Judges a function call by its OID, which names no function. */
struct firewall_verdict firewall_judge_call(const struct firewall_config *firewall);
/** Counts a verdict.  `denied`: the statement is refused; `now`: monotonic microseconds. */
void firewall_count(const struct firewall_config *firewall, struct firewall_verdict verdict,
                    uint64_t fingerprint, bool denied, int64_t now);
/** The name of what denies: of the rule, or of the setting. */
const char *firewall_verdict_name(struct firewall_verdict verdict);
/** The name of the setting that stands for a reason other than FIREWALL_RULE. */
const char *firewall_reason_text(enum firewall_reason reason);
const char *firewall_mode_text(uint16_t mode);
/** Appends what a rule is for, as text for the console: `verbs=... tables=...`. */
void firewall_write_match(const struct firewall_rule *rule, struct buffer *out);
