#pragma once
/*
 * config_reader.h - what the parts of the reader of the configuration file share.
 *
 * Private to instance/config_*.c.  A reader lives for one load; what it builds lives in the arena
 * of the version.  Places in the file are those of YAML nodes, which die with the reader.
 */
#include "config/config.h"
#include "instance/config_problems.h"
#include "instance/settings.h"

#include <yaml.h>

/* Bytes of the configuration file, and of the auth file. */
#define CONFIG_FILE_MAX ((size_t)8 * 1024 * 1024)
#define CONFIG_AUTH_MAX ((size_t)64 * 1024 * 1024)
/* Bytes of a secret. */
#define CONFIG_SECRET_MAX 2047
/* Users of the auth file. */
#define CONFIG_USERS_MAX 1000000

struct config_reader {
    struct config *config;      /* under construction */
    struct config_arena *arena; /* the version's */
    const char *file;           /* as the user named it */
    const char *directory;      /* absolute, of the file; no slash behind it */
    struct config_problems problems;
    yaml_document_t document;
    yaml_node_t *root; /* NULL: the file could not be parsed */
    bool open_told;    /* that others can read the file, which holds secrets */
};

/* --- what is wrong (config_yaml.c) ------------------------------------------------------------ */

/** `node` NULL: the file as a whole. */
void config_error(struct config_reader *reader, const yaml_node_t *node,
                  const struct config_key *key, const char *format, ...) PRINTF_LIKE(4, 5);
void config_warning(struct config_reader *reader, const yaml_node_t *node,
                    const struct config_key *key, const char *format, ...) PRINTF_LIKE(4, 5);
/** "found "x"; accepted: ..." */
void config_refuse(struct config_reader *reader, const yaml_node_t *node,
                   const struct config_key *key, const struct setting *setting);

/* --- the document (config_yaml.c) ------------------------------------------------------------- */

/** Parses the text into `document` and `root`, or reports why not. */
void config_yaml_parse(struct config_reader *reader, struct span text);
/** Wipes and frees the document. */
void config_yaml_delete(struct config_reader *reader);
/** The value of a key of a mapping, the first if there are several; NULL when it is not there. */
yaml_node_t *config_yaml_find(struct config_reader *reader, const yaml_node_t *mapping,
                              const char *name);
/** The same, or the mapping when it is not there: a place to point at. */
const yaml_node_t *config_yaml_place(struct config_reader *reader, const yaml_node_t *mapping,
                                     const char *name);
/** An element of a sequence. */
yaml_node_t *config_yaml_item(struct config_reader *reader, const yaml_node_t *sequence,
                              size_t index);
size_t config_yaml_count(const yaml_node_t *sequence);
/** A scalar's text; the empty span for other nodes. */
struct span config_yaml_text(const yaml_node_t *node);
/** A scalar that stands for nothing: empty, ~ or null, unquoted. */
bool config_yaml_nothing(const yaml_node_t *node);

/* --- texts (config_text.c) -------------------------------------------------------------------- */

/** A scalar that may be kept as a text of at most `most` bytes; NULL after telling what is wrong.
 */
const char *config_read_text(struct config_reader *reader, const struct setting *setting,
                             yaml_node_t *node, const struct config_key *key, int64_t max);

/* --- files (config_file.c) -------------------------------------------------------------------- */

/** Relative paths start from the file's directory; NULL: no memory. */
const char *config_path_absolute(struct config_reader *reader, const char *path);
/** Reads a whole file; 0 or -errno (EFBIG: more than the buffer's ceiling). */
int config_file_read(const char *path, struct buffer *into);
/** Whether nobody else can read a file with secrets, or nobody minds; `ret_mode`: its bits. */
bool config_file_private(struct config_reader *reader, const char *path, int *ret_mode);
/** The same, and tells when it is not so. */
bool config_check_private(struct config_reader *reader, const yaml_node_t *node,
                          const struct config_key *key, const char *path);

/* --- values (config_read.c) ------------------------------------------------------------------- */

/** Fills an object with the presets of its rows. */
void config_preset(struct config_reader *reader, const struct setting *rows, void *object);
/** Reads a mapping by its rows; presets stay where keys are missing. */
void config_read_mapping(struct config_reader *reader, const struct setting *rows,
                         yaml_node_t *node, const struct config_key *key, void *object);

/* --- secrets (config_source.c) ---------------------------------------------------------------- */

/** A secret that stands elsewhere: {env: ...}, {file: ...} or {command: ...}; NULL after telling
 *  what is wrong. */
const char *config_read_source(struct config_reader *reader, const struct setting *setting,
                               const yaml_node_t *node, const struct config_key *key);

/* --- values set while it runs (config_override.c) --------------------------------------------- */

/** Puts them into the document: key NUL value NUL ... */
void config_override(struct config_reader *reader, struct span overrides);

/* --- the whole (config_check.c, config_secrets.c, config_rows.c) ------------------------------ */

/** What the rows can't say: references, TLS files, routes that never match. */
void config_check(struct config_reader *reader);
/** Gives each route its like for replication connections. */
void config_add_replication(struct config_reader *reader);
void config_check_log(struct config_reader *reader);
/** Reads the auth file into config->secrets. */
void config_read_secrets(struct config_reader *reader);
/** The same, of a text; for tests and fuzzing, too. */
void config_parse_secrets(struct config_reader *reader, struct span text);
/** Reads the HBA and ident files and the options of routes into config->hba. */
void config_read_hba(struct config_reader *reader);
/** Makes config->rows, for SHOW CONFIG. */
void config_make_rows(struct config_reader *reader);
