#pragma once
/*
 * flight_key.h - what an answer depends on, as bytes.
 *
 * Two clients whose keys are equal would get the same answer from one server at one moment: same
 * service and database, same login and role, same session parameters (but for application_name, on
 * which no statement depends), same defaults of the servers, same protocol, text, types, formats
 * and values.
 */
#include "base/buffer.h"
#include "relay/turn/turn_batch_parts.h"

struct cache_rule;
struct client;
struct generations_table;

/** Returns the number of a client's database at its servers. */
uint64_t flight_key_database(const struct generations_table *generations,
                             const struct client *client);
/** Returns the text of a statement, without its NUL. */
struct span flight_key_text_of(const struct turn_batch *batch);
/** Appends what stands for the client's session. */
void flight_key_session(const struct client *client, struct buffer *key);

/** Appends the key of a statement.  The buffer's fault says whether there was room. */
void flight_key_write(const struct client *client, const struct turn_batch *batch,
                      struct buffer *key);
/** Appends the key under which a rule's answers are stored and joined: those of one mode are never
 *  taken for another's.  `named`: of an execution that may use a plan of the same state of the
 *  catalog. */
void flight_key_of_rule(const struct client *client, const struct turn_batch *batch,
                        const struct cache_rule *rule, bool named, struct buffer *key);
bool flight_key_named(struct span key); /* of a rule */
/** Whether the statement stands alone, outside of all state but the session parameters. */
bool flight_key_stands_alone(const struct client *client, const struct turn_batch *batch);
/** Returns the statement's text, a part of the key's bytes, without its NUL. */
struct span flight_key_text(struct span key);
