#pragma once
/*
 * config_load.h - from a file to a version of the configuration.
 *
 * Blocks (files, TLS): at start, at a reload, and for `check`.  Knows all about YAML and nothing
 * about what is running.  Design: docs/internals/config.md
 */
#include "base/buffer.h"
#include "config/config.h"

/** Loads the file and the auth file and the TLS files that it names.
 *
 *  `problems`: gets a line for each problem, warnings included, also on success.
 *  Caller owns a reference.  Faults: CONFIG (its story counts the problems), MEMORY, LIMIT. */
fault config_load(const char *path, uint64_t version, struct config **ret,
                  struct buffer *problems) MUST_USE;

/** The same, with values that take the place of the file's: key NUL value NUL ... */
fault config_load_with(const char *path, uint64_t version, struct span overrides,
                       struct config **ret, struct buffer *problems) MUST_USE;

/** Brings a version that nobody else sees yet to the truth: settings that are not `reloadable` keep
 *  the running version's values until the next start.  Appends a line for each that differs.
 *  Faults: MEMORY, LIMIT. */
fault config_keep_unreloadable(const struct config *running, struct config *loaded,
                               struct buffer *problems) MUST_USE;

/** docs/configuration.md, made from the table of settings. */
void config_print_manual(struct buffer *out);
/** docs/man/trunkline.5, made from the same table. */
void config_print_man(struct buffer *out);
