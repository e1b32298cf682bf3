#pragma once
/*
 * hba_parts.h - shared by the files of the HBA reader; private to hba*.c.
 *
 * A line has fields; a field has tokens separated by commas.  All of them live in the memory pieces
 * of the `struct hba` and are freed with it.
 */
#include "config/hba.h"

struct hba_regex; /* compiled */

struct hba_token {
    const char *text;
    bool quoted;                   /* begins with a quote, so it is not a keyword */
    const struct hba_regex *regex; /* if the text begins with a slash; NULL: none */
};

struct hba_field {
    struct hba_token *tokens;
    size_t count;
};

struct hba_line {
    const char *file;
    uint32_t line;
    struct hba_field *fields;
    size_t count;
};

enum hba_connection { HBA_LOCAL, HBA_HOST, HBA_HOSTSSL, HBA_HOSTNOSSL, HBA_HOSTGSSENC };
enum hba_where { HBA_ANYWHERE, HBA_SAMEHOST, HBA_SAMENET, HBA_NETWORK, HBA_NAME };

struct hba_matcher {
    struct hba_rule rule;
    enum hba_connection connection;
    struct hba_field databases;
    struct hba_field users;
    enum hba_where where;
    struct address address; /* NETWORK: already masked */
    uint8_t mask[16];
    const char *name; /* NAME */
};

struct hba_mapping {
    const char *map;
    struct hba_token outer;
    struct hba_token user;
};

struct hba_piece;
struct hba {
    struct hba_piece *pieces; /* memory */
    struct hba_regex *regexes;
    struct hba_matcher **matchers;
    size_t matcher_count;
    size_t matcher_room;
    struct hba_mapping *mappings;
    size_t mapping_count;
    size_t mapping_room;
    bool needs_roles;
    bool failed; /* no memory */
};

/* --- hba.c: memory and expressions ------------------------------------------------------------ */

/** Allocates zeroed memory.  Without memory returns NULL and marks the hba as failed. */
void *hba_take(struct hba *hba, size_t size);
char *hba_text(struct hba *hba, struct span text);
/** Compiles the expression after the slash.  On failure returns NULL and writes `why`. */
const struct hba_regex *hba_regex(struct hba *hba, const char *text, char *why, size_t size);
/** Matches a text.  `ret_group`: the match of the first parenthesis, if it has one; may be NULL. */
bool hba_regex_matches(const struct hba_regex *regex, struct span text, struct span *ret_group);

/* --- hba_lines.c: files to lines -------------------------------------------------------------- */

struct hba_lines {
    struct hba *hba;
    const struct hba_reader *reader;
    void (*take)(struct hba_lines *lines, const struct hba_line *line);
};
/** Splits a file, and all files that it includes, into lines. */
void hba_read_lines(struct hba_lines *lines, const char *path);
/** Splits a text without line ends.  Problems name `place`. */
void hba_read_text(struct hba_lines *lines, const char *text, const char *place);
void hba_problem(const struct hba_reader *reader, const char *file, uint32_t line,
                 const char *format, ...) PRINTF_LIKE(4, 5);
bool hba_is_keyword(const struct hba_token *token, const char *word);
/** Compiles the expression of a token that begins with a slash.  Returns false after reporting what
 *  is wrong. */
bool hba_compile(struct hba_lines *lines, const struct hba_line *line, struct hba_token *token);

/* --- hba_options.c ---------------------------------------------------------------------------- */

/** Reads the "name=value" options after a method.  `how->method` must be set. */
void hba_take_options(struct hba_lines *lines, const struct hba_line *line, size_t first,
                      struct auth_how *how);

/* --- hba_match.c ------------------------------------------------------------------------------ */

/** Finds whether a token of a field matches the user: all, +role, /expression, or the name. */
fault hba_user_matches(const struct hba_field *field, struct span user,
                       const struct hba_world *world, bool *ret) MUST_USE;
