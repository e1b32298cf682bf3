#pragma once
/*
 * config_manual.h - describes one setting for the generated pages.
 */
#include "base/buffer.h"
#include "base/settings.h"

/** Appends the accepted values; without the units, which the top of each page lists. */
void config_manual_accepts(const struct setting *setting, struct buffer *out);
/** Appends the default as it would be written in the file; nothing if there is none. */
void config_manual_preset(const struct setting *setting, struct buffer *out);
/** Writes the path of a group or list: "listen[]", "services.NAME.tls". */
void config_manual_path(const struct setting *row, const char *above, char *ret, size_t room);
