#pragma once
/* turn_firewall_parts.h - shared by the files of the firewall of a turn: turn_firewall*.c. */
#include "base/span.h"
#include "config/firewall.h"

struct client;
struct server;

/* --- turn_firewall_sure.c: whether a text is the same to the server --------------------------- */

/** Whether the analysis of a text is the server's: it depends on neither client_encoding nor
 *  standard_conforming_strings, or these are known not to matter.  `server`: the attached one, or
 *  NULL. */
bool turn_firewall_sure(const struct client *client, const struct server *server, struct span text);
/** Whether a statement may change these parameters; NULL: not known. */
bool turn_firewall_alters(const struct query_outline *outline);

/* --- turn_firewall_note.c: counts, the log, what is learned ----------------------------------- */

/** Counts a statement, and logs or remembers it as the mode says. */
void turn_firewall_note(struct client *client, struct firewall_verdict verdict,
                        const struct query_outline *outline, bool denied);
