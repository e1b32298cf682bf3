#pragma once
/*
 * config_reader.h - shared declarations of the configuration file's reader.
 *
 * Private to instance/config_*.c.  A reader lives for one load; what it builds lives in the arena
 * of the version.  Places in the file are YAML nodes, which are freed with the reader.
 */
#include "config/config.h"
#include "instance/config_problems.h"
#include "instance/settings.h"

#include <yaml.h>

/* Bytes of all files of the configuration together, and of the auth file. */
#define CONFIG_FILE_MAX ((size_t)8 * 1024 * 1024)
#define CONFIG_AUTH_MAX ((size_t)64 * 1024 * 1024)
/* Bytes of a secret. */
#define CONFIG_SECRET_MAX 2047
/* Users of the auth file. */
#define CONFIG_USERS_MAX 1000000

/* Files of a configuration: the main file, and those that it includes. */
#define CONFIG_FILES_MAX 1000

/* A file of the configuration.  Its texts live in the arena. */
struct config_file {
    const char *name; /* beside the name by which the user called the main file */
    const char *path; /* absolute */
    const char *from; /* the file that includes it; NULL: the main file */
    uint32_t from_line;
    uint32_t depth; /* 0: the main file */
    bool open_told; /* the warning that others can read the file was given */
};

struct config_reader {
    struct config *config;                      /* under construction */
    struct config_arena *arena;                 /* the version's */
    struct config_file files[CONFIG_FILES_MAX]; /* the first one is the main file */
    size_t file_count;
    size_t bytes; /* of all files read so far */
    struct config_problems problems;
    yaml_document_t document; /* all files; start_mark.index: the file from 1, 0: set by SET */
    yaml_node_t *root;        /* NULL: the main file could not be parsed */
};

/* --- problems (config_yaml.c) ----------------------------------------------------------------- */

/** Adds a problem at `node`; NULL means the file as a whole. */
void config_error(struct config_reader *reader, const yaml_node_t *node,
                  const struct config_key *key, const char *format, ...) PRINTF_LIKE(4, 5);
void config_warning(struct config_reader *reader, const yaml_node_t *node,
                    const struct config_key *key, const char *format, ...) PRINTF_LIKE(4, 5);
/** Adds the problem "found "x"; accepted: ..." for the setting. */
void config_refuse(struct config_reader *reader, const yaml_node_t *node,
                   const struct config_key *key, const struct setting *setting);

/* --- the document (config_yaml.c) ------------------------------------------------------------- */

/** Adds the text's nodes to `document`.  Returns the number of their root; 0: the text has none, or
 *  it is not valid YAML, which adds a problem. */
int config_yaml_parse(struct config_reader *reader, struct span text, size_t file);
/** Wipes and frees a document. */
void config_yaml_delete(yaml_document_t *document);
/** Returns the value of a key of a mapping, the first one if there are several; NULL if absent. */
yaml_node_t *config_yaml_find(struct config_reader *reader, const yaml_node_t *mapping,
                              const char *name);
/** Returns the value of a key, or the mapping if absent: a node whose line a problem can name. */
const yaml_node_t *config_yaml_place(struct config_reader *reader, const yaml_node_t *mapping,
                                     const char *name);
/** Returns an element of a sequence. */
yaml_node_t *config_yaml_item(struct config_reader *reader, const yaml_node_t *sequence,
                              size_t index);
size_t config_yaml_count(const yaml_node_t *sequence);
/** Returns a scalar's text; the empty span for other nodes. */
struct span config_yaml_text(const yaml_node_t *node);
/** Whether the node is an unquoted scalar that means null: empty, ~ or null. */
bool config_yaml_nothing(const yaml_node_t *node);

/* --- texts (config_read.c) -------------------------------------------------------------------- */

/** Returns the scalar's text, of at most `max` bytes; NULL after adding a problem. */
const char *config_read_text(struct config_reader *reader, const struct setting *setting,
                             yaml_node_t *node, const struct config_key *key, int64_t max);

/* --- the files of the configuration (config_include.c) ---------------------------------------- */

/** Reads the main file and all that it includes into `document` and `root`. */
void config_load_files(struct config_reader *reader);
/** Returns the file in which a node stands; the main file for NULL and for values of SET. */
const struct config_file *config_file_of(const struct config_reader *reader,
                                         const yaml_node_t *node);
/** Returns the place of a node for a problem at another one: "line 5", or "FILE:5". */
const char *config_line_of(struct config_reader *reader, const yaml_node_t *node,
                           const yaml_node_t *from);
/** Returns the absolute path; relative ones start from the directory of the node's file.  NULL: no
 *  memory. */
const char *config_path_absolute(struct config_reader *reader, const yaml_node_t *node,
                                 const char *path);

/* --- files (config_file.c) -------------------------------------------------------------------- */

/** Reads a whole file.  Returns 0 or -errno (EFBIG: larger than the buffer's maximum). */
int config_file_read(const char *path, struct buffer *into);
/** Whether a file with secrets is private to its owner, or `secret_files` does not require it.
 *  `ret_mode`: its permission bits. */
bool config_file_private(struct config_reader *reader, const char *path, int *ret_mode);
/** Checks that a service whose writers are all inside can have one primary, and no other service
 *  its servers (config_cache.c). */
void config_check_writers(struct config_reader *reader, const struct service_config *service,
                          const yaml_node_t *node, const struct config_key *up);
/** Checks the rules of a route's cache, and completes them (config_cache.c). */
void config_check_cache(struct config_reader *reader, struct route_config *route,
                        const yaml_node_t *node, const struct config_key *up);
/** Reads a fingerprint as the console shows it: 16 hexadecimal digits (config_cache.c). */
bool config_read_fingerprint(const char *text, uint64_t *ret);
/** Checks the rules of a route's firewall, and completes them (config_firewall.c). */
void config_check_firewall(struct config_reader *reader, struct firewall_config *firewall,
                           const yaml_node_t *node, const struct config_key *up);
/** As config_file_private; adds a problem if the file is not private. */
bool config_check_private(struct config_reader *reader, const yaml_node_t *node,
                          const struct config_key *key, const char *path);

/* --- values (config_read.c) ------------------------------------------------------------------- */

/** Fills an object with the defaults of its rows. */
void config_preset(struct config_reader *reader, const struct setting *rows, void *object);
/** Reads a mapping by its rows; missing keys keep their defaults. */
void config_read_mapping(struct config_reader *reader, const struct setting *rows,
                         yaml_node_t *node, const struct config_key *key, void *object);

/* --- secrets (config_source.c) ---------------------------------------------------------------- */

/** Reads a secret from a source outside the file: {env: ...}, {file: ...} or {command: ...}.
 *  Returns NULL after adding a problem. */
const char *config_read_source(struct config_reader *reader, const struct setting *setting,
                               const yaml_node_t *node, const struct config_key *key);

/* --- values set by SET (config_override.c) ---------------------------------------------------- */

/** Puts values into the document: key NUL value NUL ... */
void config_override(struct config_reader *reader, struct span overrides);

/* --- the whole file (config_check.c, config_secrets.c, config_rows.c) ------------------------- */

/** Checks what the table of settings can't express: references, TLS files, routes that never
 *  match. */
void config_check(struct config_reader *reader);
/** Reads the auth file into config->secrets. */
void config_read_secrets(struct config_reader *reader);
/** Parses the text of an auth file into config->secrets; also for tests and fuzzing. */
void config_parse_secrets(struct config_reader *reader, struct span text);
/** Reads the HBA and ident files and the options of routes into config->hba. */
void config_read_hba(struct config_reader *reader);
/** Builds config->rows, for SHOW CONFIG. */
void config_make_rows(struct config_reader *reader);
