#pragma once
/*
 * config_load.h - loads a configuration file into a version of the configuration.
 *
 * Blocks (files, TLS): called at the start, at a reload, and for `check`.  Knows YAML, but nothing
 * about the running pooler.  Design: docs/internals/config.md
 */
#include "base/buffer.h"
#include "config/config.h"

/** Loads the file, and the auth file and TLS files that it names.
 *
 *  `problems` gets one line per problem, warnings included, also on success.  The caller owns a
 *  reference to *ret.  Faults: CONFIG (the detail counts the problems), MEMORY, LIMIT. */
fault config_load(const char *path, uint64_t version, struct config **ret,
                  struct buffer *problems) MUST_USE;

/** As config_load, with values that replace those of the file: key NUL value NUL ... */
fault config_load_with(const char *path, uint64_t version, struct span overrides,
                       struct config **ret, struct buffer *problems) MUST_USE;

/** Copies settings that are not `reloadable` from the running version into a loaded one that is not
 *  in use yet; they keep their values until the next start.  Appends a line to `problems` for each
 *  that differs.  Faults: MEMORY, LIMIT. */
fault config_keep_unreloadable(const struct config *running, struct config *loaded,
                               struct buffer *problems) MUST_USE;

/** Appends docs/configuration.md, generated from the table of settings. */
void config_print_manual(struct buffer *out);
/** Appends docs/man/trunkline.5, generated from the same table. */
void config_print_man(struct buffer *out);
