#include "oracle/reads.h"

#include "base/map.h"
#include "model/model.h"
#include "scenario/nodes.h"
#include "scenario/scenario.h"

#include <string.h>

/* BEGIN or START TRANSACTION, without READ ONLY. */
static bool reads_begins_to_write(struct span text)
{
    static const char begin[] = "BEGIN ", start[] = "START ", only[] = "READ ONLY";
    bool begins = (text.size >= sizeof(begin) && memcmp(text.at, begin, sizeof(begin) - 1) == 0) ||
                  (text.size >= sizeof(start) && memcmp(text.at, start, sizeof(start) - 1) == 0);
    return begins && memmem(text.at, text.size, only, sizeof(only) - 1) == NULL;
}

bool reads_begin_again(struct span text, const struct reads_seen *seen)
{
    return seen->text != 0 && hash_data(text.at, text.size, 1) == seen->text;
}

void reads_began(const struct model_session_view *session, uint32_t login, struct span text,
                 struct reads_seen *seen)
{
    if (!nodes_split_reads(session->database) || !session->standby)
        return;
    CHECK(!reads_begins_to_write(text),
          "login %u begins a transaction that may write at server %u, a standby", login,
          session->local.bytes[3]);
    CHECK(session->place >= seen->place,
          "login %u has seen the log up to %llx, and reads at server %u, which has replayed %llx",
          login, (unsigned long long)seen->place, session->local.bytes[3],
          (unsigned long long)session->place);
    seen->place = session->place;
    seen->text = hash_data(text.at, text.size, 1);
}

bool reads_run_again(const struct model_session_view *session, const char *sqlstate)
{
    static const char *const states[] = {"40001", "08006", "57P01"};
    if (!nodes_split_reads(session->database) || !session->began_standby || session->in_block)
        return false;
    for (size_t i = 0; sqlstate != NULL && i < ARRAY_SIZE(states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return false;
}

void reads_ended(const struct model_session_view *session, uint32_t login, const char *sqlstate,
                 struct reads_seen *seen)
{
    if (!nodes_split_reads(session->database))
        return;
    /* In a transaction that began READ ONLY it is the client's mistake. */
    CHECK(!session->standby || session->in_block || sqlstate == NULL ||
              strcmp(sqlstate, "25006") != 0,
          "a statement of login %u that writes is sent to server %u, a standby", login,
          session->local.bytes[3]);
    if (!session->standby && session->place > seen->place)
        seen->place = session->place;
}
