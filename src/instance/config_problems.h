#pragma once
/*
 * config_problems.h - collects all problems of a configuration.
 *
 * Problems are collected in any order and printed in the order of the files, as "file:line:column:
 * [warning: ]key: what was found; what is accepted".
 */
#include "instance/config_arena.h"

struct buffer;

/* Maximum of problems that are printed; further ones are only counted. */
#define CONFIG_PROBLEMS_MAX 200
/* Characters of one problem, NUL included; longer texts are cut. */
#define CONFIG_PROBLEM_TEXT 1024

/* The path to a value, such as routes[3].pool_size.  Lives on the reader's stack. */
struct config_key {
    const struct config_key *up; /* NULL: the file itself */
    const char *name;            /* NULL: an element of a list */
    size_t index;
};

/* A place in a file.  Lines and columns count from 1; line 0 means the file as a whole. */
struct config_place {
    const char *file;
    uint32_t line;
    uint32_t column; /* 0: the line as a whole */
};

enum config_severity { CONFIG_ERROR, CONFIG_WARNING };

struct config_problem {
    struct config_place place;
    uint32_t file_rank; /* files are printed in the order of their first problem */
    uint32_t number;    /* in the order of discovery; breaks ties */
    const char *text;
};

struct config_problems {
    struct config_arena *arena;
    size_t errors;
    size_t warnings;
    size_t count; /* of `list` */
    struct config_problem list[CONFIG_PROBLEMS_MAX];
};

/** Adds a problem; `key` may be NULL. */
void config_problems_add(struct config_problems *problems, enum config_severity severity,
                         struct config_place place, const struct config_key *key, const char *text);
void config_problems_print(struct config_problems *problems, struct buffer *out);
/** Appends "routes[3].pool_size". */
void config_key_print(const struct config_key *key, struct buffer *out);
