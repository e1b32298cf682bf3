#pragma once
/*
 * flight_writes.h - what a client's statements may write, for services whose writers are all inside
 * (flight/inside.h).
 *
 * On the path of each statement of these services: nothing waits.  The tables of a text are known
 * when its verdict is; until then it counts as a write of the whole database, and the verdict is
 * made beside.
 */
#include "base/span.h"

struct server;
struct turn;

/** Notes a text that is about to be executed, or one that is not known (no bytes), before any of it
 *  is sent; holds what it may commit.  `body` is that of a Query, or of a Parse behind its name;
 *  `bind` that of a Bind behind its names, or empty. */
void flight_writes_note(struct turn *turn, struct span body, struct span bind);
/** Notes the beginning of a Query that is sent as it arrives, and further parts of it, before they
 *  are sent; without effect on those of other messages. */
void flight_writes_begin(struct turn *turn, struct span part);
void flight_writes_part(struct turn *turn, struct span part, bool last);
/** Returns the generation of the catalog in which a Parse is sent now; 0: nothing is noted. */
uint64_t flight_writes_catalog(const struct server *server);
/** Notes that a statement was parsed in this generation, before it is executed: its plan may write
 *  other tables than the text would now. */
void flight_writes_planned(struct turn *turn, uint64_t catalog);
/** Notes a Parse in a pool that does not know which statement a Bind names. */
void flight_writes_parsed(struct turn *turn, struct span text);
/** The same, of a text of which only the beginning is known. */
void flight_writes_parsed_long(struct turn *turn, struct span part);
