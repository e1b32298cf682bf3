#pragma once
/*
 * settings.h - a setting is a row: name, kind, unit, default, range, help, and where it is kept.
 *
 * One table of rows drives the reader of the file, the defaults, the messages, SHOW CONFIG and the
 * manual.  This file knows single values; what a mapping or a list is, is known to whoever reads
 * the file.  Nothing here allocates.  Numbers travel as int64_t in the kind's base unit:
 * microseconds, bytes, or a plain count.  Design: docs/internals/config.md
 */
#include "base/buffer.h"

enum setting_kind {
    /* numbers */
    SETTING_COUNT,
    SETTING_BYTES,        /* "16MiB" */
    SETTING_DURATION,     /* "5s", kept as a `duration` */
    SETTING_SECONDS,      /* a duration, kept as whole seconds */
    SETTING_MILLISECONDS, /* a duration, kept as whole milliseconds */
    SETTING_PERMISSIONS,  /* octal */
    SETTING_SWITCH,       /* yes or no */
    SETTING_CHOICE,       /* one of the words in `choices` */
    /* texts; `most` is their longest, in bytes */
    SETTING_TEXT,
    SETTING_PATTERN, /* "*" is kept as NULL */
    SETTING_PATH,    /* relative to the file that names it, kept absolute */
    SETTING_SECRET,  /* never shown */
    /* parts, made of further rows */
    SETTING_GROUP,   /* a mapping, kept inside the object */
    SETTING_LIST,    /* a list of mappings */
    SETTING_NAMED,   /* a mapping from names to mappings; the name is the element's first field */
    SETTING_SPECIAL, /* has a reader of its own */
};

struct setting_choice {
    const char *word;
    int64_t value;
};

struct setting {
    const char *name;
    const char *help; /* one line, a sentence */
    enum setting_kind kind;
    bool reloadable; /* a reload changes it */
    bool required;
    size_t at;          /* offset of the field in its object */
    size_t size;        /* bytes of the field (numbers are kept by it), or of one element */
    size_t count_at;    /* LIST, NAMED: offset of the size_t that counts the elements at *`at` */
    const char *preset; /* as one would write it in the file; NULL: none */
    int64_t min;        /* in the base unit */
    int64_t max;
    const char *unit; /* what is counted, for the manual; NULL: says the kind */
    const char *word; /* one more accepted word that stands for `word_value`; NULL: none */
    int64_t word_value;
    const struct setting_choice
        *choices;               /* CHOICE; COUNT: besides numbers; ends with a NULL word */
    const struct setting *rows; /* GROUP, LIST, NAMED: ends with a NULL name */
    const struct setting_special *special;
};

bool setting_is_number(const struct setting *setting);
bool setting_is_text(const struct setting *setting);

/** Reads a number with its unit, a switch, or a choice.  False, and nothing written, when the text
 *  is none or lies outside of the range. */
bool setting_read(const struct setting *setting, struct span text, int64_t *ret) MUST_USE;
/** Keeps and returns a number in the field of `object`, whatever its size. */
void setting_store(const struct setting *setting, void *object, int64_t value);
int64_t setting_load(const struct setting *setting, const void *object);
/** Appends the value as one would write it in the file, in the largest unit without a rest. */
void setting_print(const struct setting *setting, int64_t value, struct buffer *out);
/** Appends what is accepted: "a whole number from 1 to 64". */
void setting_accepts(const struct setting *setting, struct buffer *out);
/** Appends the range of a kind with units: " from 1ms to 5s". */
void setting_print_range(const struct setting *setting, struct buffer *out);

/** The row of that name, or NULL. */
const struct setting *settings_find(const struct setting *rows, struct span name);
/** The name among the rows that `name` was probably meant to be, or NULL. */
const char *settings_nearest(const struct setting *rows, struct span name);
/** How many letters must be inserted, removed, replaced or swapped; at most `most` + 1. */
unsigned setting_distance(struct span a, struct span b, unsigned max);
