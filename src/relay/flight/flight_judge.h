#pragma once
/*
 * flight_judge.h - whether the answer to a statement may be shared, for a runner.
 *
 * The text is parsed on an offload thread.  What its names denote is asked of the catalog in the
 * runner's session: with the role and the search_path of the client.  Verdicts are kept in the
 * process's table for VERDICT_AGE, those of the mode strict until the catalog changes.
 */
#include "flight/verdicts.h"
#include "relay/flight/flight_session_parts.h"
#include "relay/turn/turn_batch_parts.h"

struct client;
struct config;
struct origin;

/** Returns why the answer to a client's statement may not be shared, as far as that is known
 * without asking: by the types and values of its parameters, and by a verdict that was made before.
 *  VERDICT_REASONS: nothing is known against it. */
uint32_t flight_judge_known(const struct client *client, const struct turn_batch *batch,
                            const struct origin *origin);
/** Finds the verdict that was made before; the caller owns a reference.  NULL: there is none. */
struct verdict *flight_judge_find(const struct client *client, const struct turn_batch *batch,
                                  const struct origin *origin);
/** Appends the key under which the verdict on a client's statement is kept.  `origin`: of a strict
 *  rule, whose feed tells of each change of the catalog; NULL: the verdict is made again after a
 *  while. */
void flight_judge_key(const struct client *client, const struct turn_batch *batch,
                      const struct origin *origin, struct buffer *key);
/** Appends the key of the verdict on what a client's statement writes; `bare`: its text without
 *  literals; `catalog` and `settings`: their generations. */
void flight_judge_writes_key(const struct client *client, uint64_t catalog, uint64_t settings,
                             struct span bare, struct buffer *key);
/** Makes the verdict on what a text writes.  The caller owns a reference.  Suspends.  Faults: as
 *  below. */
fault flight_judge_writes(struct flight_session *session, const struct config *config,
                          struct span text, struct verdict **ret) MUST_USE;
/** Makes the verdict on a text, and keeps it under `key`, unless `verdicts` is NULL.  The caller
 * owns a reference.  Suspends. Faults: of the session; MEMORY, TIMEOUT, CANCELLED, PROTOCOL,
 * UPSTREAM (the server has refused the question). */
fault flight_judge(struct flight_session *session, const struct config *config,
                   struct verdicts *verdicts, struct span key, struct span text,
                   struct verdict **ret) MUST_USE;
