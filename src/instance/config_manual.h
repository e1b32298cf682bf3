#pragma once
/*
 * config_manual.h - a row of the table of settings in words, for the pages that are made of it.
 */
#include "base/buffer.h"
#include "base/settings.h"

/** What may be written; the units stand at the top of each page, so the range is enough. */
void config_manual_accepts(const struct setting *setting, struct buffer *out);
/** The preset as one would write it in the file; nothing where there is none. */
void config_manual_preset(const struct setting *setting, struct buffer *out);
/** How the part below a row is called: "listen[]", "services.NAME.tls". */
void config_manual_path(const struct setting *row, const char *above, char *ret, size_t room);
