#pragma once
/*
 * config_problems.h - everything that is wrong with a configuration, told at once.
 *
 * Problems are collected in any order and printed in the order of the files, as
 * "file:line:column: [warning: ]key: what was found; what is accepted".
 */
#include "instance/config_arena.h"

struct buffer;

/* More are counted only. */
#define CONFIG_PROBLEMS_MAX 200
/* Characters of one problem, NUL included; longer ones are cut. */
#define CONFIG_PROBLEM_TEXT 1024

/* The way to a value: routes[3].pool_size.  Lives on the reader's stack. */
struct config_key {
    const struct config_key *up; /* NULL: the file itself */
    const char *name;            /* NULL: an element of a list */
    size_t index;
};

/* Where something stands.  Lines and columns count from 1; line 0: the file as a whole. */
struct config_place {
    const char *file;
    uint32_t line;
    uint32_t column; /* 0: the line as a whole */
};

enum config_severity { CONFIG_ERROR, CONFIG_WARNING };

struct config_problem {
    struct config_place place;
    uint32_t file_rank; /* problems of the auth file come last */
    uint32_t number;    /* in the order of finding; breaks ties */
    const char *text;
};

struct config_problems {
    struct config_arena *arena;
    size_t errors;
    size_t warnings;
    size_t count; /* of `list` */
    struct config_problem list[CONFIG_PROBLEMS_MAX];
};

/** `key` may be NULL. */
void config_problems_add(struct config_problems *problems, enum config_severity severity,
                         struct config_place place, const struct config_key *key, const char *text);
void config_problems_print(struct config_problems *problems, struct buffer *out);
/** Appends "routes[3].pool_size". */
void config_key_print(const struct config_key *key, struct buffer *out);
