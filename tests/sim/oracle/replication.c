#include "oracle/replication.h"

#include "model/model.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLICATIONS_MAX   8192u
#define REPLICATION_PREFIX "repl "
#define REPLICATION_TEXT   96
#define GONE_FOR           sec(3)  /* a connection that ended so long ago does not count */
#define ENDS_WITHIN        sec(10) /* of its client */

struct replication {
    bool closed;
    deadline closed_at;
    uint32_t servers;       /* a second one may be logged in */
    deadline surplus_since; /* there is more than one */
    char command[REPLICATION_TEXT];
    uint64_t sent;     /* status messages that it sent */
    uint64_t received; /* status messages that its server received */
};

static struct {
    struct replication *all;
    uint32_t count; /* number 0 is not used */
} replications;

void replication_init(void)
{
    replications.all = calloc(REPLICATIONS_MAX, sizeof(*replications.all));
    replications.count = 1;
    CHECK(replications.all != NULL);
}

void replication_fini(void)
{
    free(replications.all);
    replications.all = NULL;
}

/* --- clients ---------------------------------------------------------------------------------- */

uint32_t replication_add(void)
{
    CHECK(replications.count < REPLICATIONS_MAX);
    return replications.count++;
}

void replication_name(uint32_t replication, char name[REPLICATION_NAME])
{
    snprintf(name, REPLICATION_NAME, REPLICATION_PREFIX "%u", replication);
}

void replication_set_command(uint32_t replication, const char *text)
{
    snprintf(replications.all[replication].command, REPLICATION_TEXT, "%s", text);
}

uint64_t replication_next_status(uint32_t replication)
{
    return ++replications.all[replication].sent;
}

void replication_check_received(uint32_t replication)
{
    const struct replication *it = &replications.all[replication];
    CHECK(it->received == it->sent,
          "replication %u has sent %llu status messages, and %llu were received", replication,
          (unsigned long long)it->sent, (unsigned long long)it->received);
}

void replication_logged_in(uint32_t replication, uint32_t pid)
{
    char name[REPLICATION_NAME];
    const struct model_session *session = model_session_find(scenario.model, pid);
    replication_name(replication, name);
    if (session == NULL) /* it has ended already */
        return;
    struct model_session_view view = model_session_look(session);
    CHECK(view.replicates && span_is(view.application_name, name),
          "replication %u is given the server of '%.*s'", replication,
          SPAN_ARG(view.application_name));
}

void replication_closed(uint32_t replication)
{
    replications.all[replication].closed = true;
    replications.all[replication].closed_at = now();
}

/* Counts connections that are open, were open a moment ago, or have a server. */
void replication_check_refusal(uint32_t replication)
{
    uint32_t others = 0;
    for (uint32_t i = 1; i < replications.count; i++) {
        const struct replication *it = &replications.all[i];
        bool was_there = !it->closed || between(it->closed_at, now()).us < GONE_FOR.us;
        others += i != replication && (was_there || it->servers > 0);
    }
    CHECK(others >= scenario.setup.replication_limit || scenario_may_lose_ends(),
          "replication %u is one too many beside %u, there may be %u", replication, others,
          scenario.setup.replication_limit);
}

/* --- servers ---------------------------------------------------------------------------------- */

static struct replication *replication_of(const struct model_session_view *session)
{
    char name[REPLICATION_NAME];
    unsigned replication = 0;
    snprintf(name, sizeof(name), "%.*s", SPAN_ARG(session->application_name));
    CHECK(sscanf(name, REPLICATION_PREFIX "%u", &replication) == 1 && replication > 0 &&
              replication < replications.count,
          "a server for replication is begun for '%s'", name);
    return &replications.all[replication];
}

void replication_server_began(const struct model_session_view *session)
{
    struct replication *replication = replication_of(session);
    if (++replication->servers > 1)
        replication->surplus_since = now();
}

void replication_server_ended(const struct model_session_view *session)
{
    replication_of(session)->servers -= 1;
}

void replication_statement(const struct model_session_view *session, struct span text)
{
    const struct replication *replication = replication_of(session);
    CHECK(span_is(text, replication->command),
          "'%.*s' runs on the server of '%.*s', which has sent '%s'", SPAN_ARG(text),
          SPAN_ARG(session->application_name), replication->command);
}

void replication_server_received(void *argument UNUSED, const struct model_session_view *session,
                                 struct span body)
{
    struct replication *replication = replication_of(session);
    struct wire_reader in = wire_reader_over(body);
    (void)wire_get_bytes(&in, 1 + 3 * 8);
    uint64_t high = wire_get_u32(&in);
    uint64_t number = high << 32 | wire_get_u32(&in);
    CHECK(number == replication->received + 1 && number <= replication->sent,
          "the server of '%.*s' receives status %llu after %llu",
          SPAN_ARG(session->application_name), (unsigned long long)number,
          (unsigned long long)replication->received);
    replication->received = number;
}

void replication_check(void)
{
    bool is_held_up = scenario_may_lose_ends() || scenario_has(KIND_console_commands) ||
                      scenario_has(KIND_pauses);
    for (uint32_t i = 1; i < replications.count && !is_held_up; i++) {
        const struct replication *it = &replications.all[i];
        CHECK(!it->closed || it->servers == 0 || between(it->closed_at, now()).us < ENDS_WITHIN.us,
              "replication %u has disconnected, and its server stays", i);
        CHECK(it->servers < 2 || between(it->surplus_since, now()).us < ENDS_WITHIN.us,
              "replication %u keeps %u servers", i, it->servers);
    }
}
