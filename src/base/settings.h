#pragma once
/*
 * settings.h - the description of a setting: name, kind, unit, default, range, help, and the field
 * that stores it.
 *
 * One table of rows is the source for the configuration reader, the defaults, the messages, SHOW
 * CONFIG and the manual.  This file handles single values; the configuration reader handles
 * mappings and lists.  Nothing here allocates.  Ranges are in the kind's base unit: microseconds,
 * bytes, or a plain count.  Stored values are int64_t in the unit of the field, which is coarser
 * for SETTING_SECONDS and SETTING_MILLISECONDS.  Design: docs/internals/config.md
 */
#include "base/buffer.h"

enum setting_kind {
    /* numbers */
    SETTING_COUNT,
    SETTING_BYTES,        /* "16MiB" */
    SETTING_DURATION,     /* "5s", stored as a `duration` */
    SETTING_SECONDS,      /* a duration, stored as whole seconds */
    SETTING_MILLISECONDS, /* a duration, stored as whole milliseconds */
    SETTING_PERMISSIONS,  /* octal */
    SETTING_SWITCH,       /* yes or no */
    SETTING_CHOICE,       /* one of the words in `choices` */
    /* texts; `max` is the limit of their length, in bytes */
    SETTING_TEXT,
    SETTING_PATTERN, /* "*" is stored as NULL */
    SETTING_PATH,    /* relative to the file that contains it, stored as an absolute path */
    SETTING_SECRET,  /* never shown */
    /* containers of further rows */
    SETTING_GROUP,   /* a mapping, stored inside the object */
    SETTING_LIST,    /* a list of mappings */
    SETTING_NAMED,   /* a mapping from names to mappings; the name is the element's first field */
    SETTING_SPECIAL, /* read by a function of its own */
};

struct setting_choice {
    const char *word;
    int64_t value;
};

struct setting {
    const char *name;
    const char *help; /* one line, a sentence */
    enum setting_kind kind;
    bool reloadable; /* a reload applies a new value */
    bool required;
    size_t at;          /* offset of the field in its object */
    size_t size;        /* bytes of the field (selects the integer type), or of one element */
    size_t count_at;    /* LIST, NAMED: offset of the size_t that counts the elements at *`at` */
    const char *preset; /* the default, as written in the file; NULL: none */
    int64_t min;        /* in the base unit */
    int64_t max;
    const char *unit; /* what is counted, for the manual; NULL: follows from the kind */
    const char *word; /* an additional word that means `word_value`; NULL: none */
    int64_t word_value;
    const struct setting_choice
        *choices;               /* CHOICE; COUNT: besides numbers; ends with a NULL word */
    const struct setting *rows; /* GROUP, LIST, NAMED: ends with a NULL name */
    const struct setting_special *special;
};

bool setting_is_number(const struct setting *setting);
bool setting_is_text(const struct setting *setting);

/** Reads a number with its unit, a switch, or a choice.  Returns false and leaves *ret unchanged
 *  when the text is not valid or the value is out of range. */
bool setting_read(const struct setting *setting, struct span text, int64_t *ret) MUST_USE;
/** Writes and reads the number field of `object`, 1, 2, 4 or 8 bytes wide. */
void setting_store(const struct setting *setting, void *object, int64_t value);
int64_t setting_load(const struct setting *setting, const void *object);
/** Appends the value as written in the file, in the largest unit that divides it evenly. */
void setting_print(const struct setting *setting, int64_t value, struct buffer *out);
/** Appends a description of the accepted values: "a whole number from 1 to 64". */
void setting_accepts(const struct setting *setting, struct buffer *out);
/** Appends the range of a kind with units: " from 1ms to 5s". */
void setting_print_range(const struct setting *setting, struct buffer *out);

/** The row with that name, or NULL. */
const struct setting *settings_find(const struct setting *rows, struct span name);
/** The name of the row that is most similar to `name` ("did you mean"), or NULL. */
const char *settings_nearest(const struct setting *rows, struct span name);
/** The edit distance (letters inserted, removed, replaced or swapped), at most `max` + 1. */
unsigned setting_distance(struct span a, struct span b, unsigned max);
