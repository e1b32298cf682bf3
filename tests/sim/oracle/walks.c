#include "oracle/walks.h"

#include "model/model.h"
#include "stage/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALKS_MAX   8192u
#define WALK_PREFIX "walk "
#define WALK_TEXT   96
#define GONE_FOR    sec(3)  /* who has gone for so long counts for nothing */
#define ENDS_WITHIN sec(10) /* behind its client */

struct walk {
    bool has_gone;
    deadline gone_at;
    uint32_t servers;       /* a second one may come, which nobody waits for */
    deadline surplus_since; /* there is one more than it is to have */
    char asked[WALK_TEXT];
    uint64_t said;  /* replies */
    uint64_t heard; /* by its server */
};

static struct {
    struct walk *all;
    uint32_t count; /* the first is nobody's */
} walks;

void walks_init(void)
{
    walks.all = calloc(WALKS_MAX, sizeof(*walks.all));
    walks.count = 1;
    PROVE(walks.all != NULL);
}

void walks_fini(void)
{
    free(walks.all);
    walks.all = NULL;
}

/* --- what clients say of themselves ----------------------------------------------------------- */

uint32_t walks_enrol(void)
{
    PROVE(walks.count < WALKS_MAX);
    return walks.count++;
}

void walks_name(uint32_t walk, char name[WALK_NAME])
{
    snprintf(name, WALK_NAME, WALK_PREFIX "%u", walk);
}

void walks_ask(uint32_t walk, const char *text)
{
    snprintf(walks.all[walk].asked, WALK_TEXT, "%s", text);
}

uint64_t walks_reply(uint32_t walk)
{
    return ++walks.all[walk].said;
}

void walks_check_heard(uint32_t walk)
{
    const struct walk *it = &walks.all[walk];
    PROVE(it->heard == it->said, "walk %u has replied %llu times, and %llu were heard", walk,
          (unsigned long long)it->said, (unsigned long long)it->heard);
}

void walks_greet(uint32_t walk, uint32_t pid)
{
    char name[WALK_NAME];
    const struct model_session *session = model_session_find(stage.model, pid);
    walks_name(walk, name);
    if (session == NULL) /* it has ended already */
        return;
    struct model_session_view view = model_session_look(session);
    PROVE(view.replicates && span_is(view.application_name, name),
          "walk %u is given the server of '%.*s'", walk, SPAN_ARG(view.application_name));
}

void walks_leave(uint32_t walk)
{
    walks.all[walk].has_gone = true;
    walks.all[walk].gone_at = now();
}

/* Those who are there, or were a moment ago, or have a server still. */
void walks_check_refusal(uint32_t walk)
{
    uint32_t others = 0;
    for (uint32_t i = 1; i < walks.count; i++) {
        const struct walk *it = &walks.all[i];
        bool was_there = !it->has_gone || between(it->gone_at, now()).us < GONE_FOR.us;
        others += i != walk && (was_there || it->servers > 0);
    }
    PROVE(others >= stage.setup.walks_max || stage_may_lose_ends(),
          "walk %u is one too many beside %u, there may be %u", walk, others,
          stage.setup.walks_max);
}

/* --- what happens to their servers ------------------------------------------------------------ */

static struct walk *walk_of(const struct model_session_view *session)
{
    char name[WALK_NAME];
    unsigned walk = 0;
    snprintf(name, sizeof(name), "%.*s", SPAN_ARG(session->application_name));
    PROVE(sscanf(name, WALK_PREFIX "%u", &walk) == 1 && walk > 0 && walk < walks.count,
          "a server for replication is begun for '%s'", name);
    return &walks.all[walk];
}

void walks_began(const struct model_session_view *session)
{
    struct walk *walk = walk_of(session);
    if (++walk->servers > 1)
        walk->surplus_since = now();
}

void walks_ended(const struct model_session_view *session)
{
    walk_of(session)->servers -= 1;
}

void walks_run(const struct model_session_view *session, struct span text)
{
    const struct walk *walk = walk_of(session);
    PROVE(span_is(text, walk->asked), "'%.*s' runs on the server of '%.*s', who has asked '%s'",
          SPAN_ARG(text), SPAN_ARG(session->application_name), walk->asked);
}

void walks_replied(void *argument UNUSED, const struct model_session_view *session,
                   struct span body)
{
    struct walk *walk = walk_of(session);
    struct wire_reader in = wire_reader_over(body);
    (void)wire_get_bytes(&in, 1 + 3 * 8);
    uint64_t high = wire_get_u32(&in);
    uint64_t number = high << 32 | wire_get_u32(&in);
    PROVE(number == walk->heard + 1 && number <= walk->said,
          "the server of '%.*s' hears reply %llu behind %llu", SPAN_ARG(session->application_name),
          (unsigned long long)number, (unsigned long long)walk->heard);
    walk->heard = number;
}

void walks_check(void)
{
    bool is_held_up = stage_may_lose_ends() || stage_has(KIND_orders) || stage_has(KIND_pauses);
    for (uint32_t i = 1; i < walks.count && !is_held_up; i++) {
        const struct walk *it = &walks.all[i];
        PROVE(!it->has_gone || it->servers == 0 || between(it->gone_at, now()).us < ENDS_WITHIN.us,
              "walk %u has gone, and its server stays", i);
        PROVE(it->servers < 2 || between(it->surplus_since, now()).us < ENDS_WITHIN.us,
              "walk %u keeps %u servers", i, it->servers);
    }
}
