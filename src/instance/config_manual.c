/*
 * config_manual.c - docs/configuration.md, made from the table of settings: `trunkline docs
 * configuration`.
 */
#include "instance/config_manual.h"

#include "instance/config_load.h"
#include "instance/settings.h"

#include <stdio.h>

static const char manual_start[] =
    "# Configuration\n"
    "\n"
    "<!-- Made by `trunkline docs configuration` from the table in src/instance/settings.c. -->\n"
    "\n"
    "`trunkline run FILE` reads a YAML file. `trunkline check FILE` reports every problem\n"
    "of it: file, line, column, key, what was found and what is accepted. A commented sample is\n"
    "[examples/trunkline.yaml](../examples/trunkline.yaml).\n"
    "\n"
    "* **Durations** have a unit, as in PostgreSQL: `us`, `ms`, `s`, `min`, `h`, `d`.\n"
    "  Examples: `250ms`, `10min`.\n"
    "* **Sizes** have a unit: `B`, `KiB`, `MiB`, `GiB`. Example: `64KiB`.\n"
    "* **Counts** have no unit.\n"
    "* **Switches** are `yes` or `no` (also `true`, `false`, `on`, `off`).\n"
    "* **Paths** are relative to the file in which they stand unless they begin with a slash.\n"
    "* `*` must be quoted in YAML: `\"*\"`.\n"
    "* An unknown key is an error; so is a key that is set twice.\n"
    "\n"
    "## Several files\n"
    "\n"
    "`include` adds the settings of other files: a path, a pattern such as `conf.d/*.yaml`, or a\n"
    "list of them. An included file has the same keys as the main file.\n"
    "\n"
    "* Paths and patterns are relative to the directory of the file that includes them.\n"
    "* A pattern (`*`, `?`, `[a-z]`) may stand in the last part of a path only. Its files are read "
    "in\n"
    "  the byte order of their names, without those that begin with a dot. A pattern that matches\n"
    "  nothing is accepted; a path without its file is an error.\n"
    "* Lists (`listen`, `routes`) and mappings of names (`services`, `databases`, `users`) are\n"
    "  appended: first the entries of the including file, then those of the files that it "
    "includes,\n"
    "  in their order. The first route that matches a client counts.\n"
    "* In a group of settings, such as `log`, each file may set keys of its own.\n"
    "* A setting that two files set is an error, which names both places. So is a file that is\n"
    "  included twice.\n"
    "* Files may include further files, up to a depth of 10.\n"
    "* A reload reads all files again. `SHOW ROUTES` has the file and line of every route.\n"
    "\n"
    "## Reload\n"
    "\n"
    "`SIGHUP`, or `RELOAD` on the console, reloads all files. If a file has errors, nothing\n"
    "changes. Connected clients finish on the route that they matched before; new clients use\n"
    "the new routes. Settings without a mark under *Reload* keep their value until the next\n"
    "start.\n";

static void cell_print(const char *text, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            buffer_append_byte(out, '\\');
        buffer_append_byte(out, (uint8_t)*text);
    }
}

void config_manual_accepts(const struct setting *setting, struct buffer *out)
{
    if (setting->unit != NULL) {
        buffer_append_text(out, setting->unit);
        return;
    }
    switch (setting->kind) {
    case SETTING_BYTES:
        buffer_append_text(out, "a size");
        break;
    case SETTING_DURATION:
    case SETTING_MILLISECONDS:
        buffer_append_text(out, "a duration");
        break;
    case SETTING_SECONDS:
        buffer_append_text(out, "whole seconds");
        break;
    case SETTING_PATH:
        buffer_append_text(out, "a path");
        return;
    default:
        setting_accepts(setting, out);
        return;
    }
    setting_print_range(setting, out);
    if (setting->word != NULL)
        buffer_printf(out, ", or `%s`", setting->word);
}

static void accepted_print(const struct setting *setting, struct buffer *out)
{
    struct buffer text = BUFFER_INIT(4096);
    config_manual_accepts(setting, &text);
    buffer_append_byte(&text, '\0');
    if (buffer_fault(&text) == OK)
        cell_print((const char *)text.at, out);
    buffer_fini(&text);
}

void config_manual_preset(const struct setting *setting, struct buffer *out)
{
    int64_t value;
    if (setting->preset == NULL)
        return;
    if (setting_is_number(setting) && setting_read(setting, span_text(setting->preset), &value))
        setting_print(setting, value, out);
    else
        buffer_append_text(out, setting->preset);
}

static void preset_print(const struct setting *setting, struct buffer *out)
{
    if (setting->required) {
        buffer_append_text(out, "required");
        return;
    }
    if (setting->preset == NULL)
        return;
    buffer_append_byte(out, '`');
    config_manual_preset(setting, out);
    buffer_append_byte(out, '`');
}

static bool is_part(const struct setting *setting)
{
    return setting->rows != NULL;
}

static void row_print(const struct setting *setting, struct buffer *out)
{
    buffer_printf(out, "| `%s` | ", setting->name);
    cell_print(setting->help, out);
    buffer_append_text(out, " | ");
    accepted_print(setting, out);
    buffer_append_text(out, " | ");
    preset_print(setting, out);
    buffer_printf(out, " | %s |\n", setting->reloadable ? "yes" : "");
}

static void table_print(const struct setting *rows, struct buffer *out)
{
    buffer_append_text(out, "\n| Key | Meaning | Accepted | Default | Reload |\n"
                            "|---|---|---|---|---|\n");
    for (const struct setting *row = rows; row->name != NULL; row++)
        if (!is_part(row))
            row_print(row, out);
}

void config_manual_path(const struct setting *row, const char *above, char *ret, size_t room)
{
    const char *mark = row->kind == SETTING_LIST ? "[]" : row->kind == SETTING_NAMED ? ".NAME" : "";
    snprintf(ret, room, "%s%s%s%s", above, *above != '\0' ? "." : "", row->name, mark);
}

/* Prints the parts below a mapping, each with its own heading, the outer ones first. */
static void parts_print(const struct setting *rows, const char *path, struct buffer *out)
{
    for (const struct setting *row = rows; row->name != NULL; row++) {
        if (!is_part(row))
            continue;
        char below[128];
        config_manual_path(row, path, below, sizeof(below));
        buffer_printf(out, "\n## `%s`\n\n%s\n", below, row->help);
        table_print(row->rows, out);
        parts_print(row->rows, below, out);
    }
}

void config_print_manual(struct buffer *out)
{
    buffer_append_text(out, manual_start);
    buffer_append_text(out, "\n## The file itself\n");
    table_print(config_settings, out);
    parts_print(config_settings, "", out);
}
