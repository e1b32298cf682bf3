#include "oracle/pins.h"

#include "model/model.h"
#include "scenario/scenario.h"

#include <stdio.h>

#define PIN_SHARE 90u /* percent: what it is where the file says nothing */

/* Other sizes have been, or are yet to be taken by all relays; a session may have lost its client's
 * end. */
static bool pins_are_exact(void)
{
    return !scenario_has(KIND_reloads) && !scenario_has(KIND_route_changes) &&
           !scenario_may_lose_ends();
}

uint32_t pins_max(void)
{
    uint32_t max = scenario.setup.pool_size * PIN_SHARE / 100;
    return max > 0 ? max : 1;
}

/* As far as it can be seen: there are statements of both kinds in a session. */
static bool pins_has_state(const struct model_session *session,
                           const struct model_session_view *view)
{
    return view->locks > 0 || view->channels > 0 || view->temporary > 0 ||
           !span_is(model_session_setting(session, "lock_timeout"), "0");
}

static bool is_transaction_pool(const struct model_session_view *view)
{
    return span_is(view->database, "app");
}

void pins_check(const struct model *model)
{
    uint32_t pins = 0;
    if (!pins_are_exact())
        return;
    for (const struct model_session *at = model_session_next(model, NULL); at != NULL;
         at = model_session_next(model, at)) {
        struct model_session_view view = model_session_look(at);
        if (is_transaction_pool(&view) && !view.gone && view.status == WIRE_TX_IDLE)
            pins += pins_has_state(at, &view);
    }
    CHECK(pins <= pins_max(), "clients keep %u servers of a pool, and may keep %u", pins,
          pins_max());
}

void pins_check_refusal(struct span message)
{
    unsigned max;
    char text[200];
    snprintf(text, sizeof(text), "%.*s", SPAN_ARG(message));
    if (sscanf(text, "no more than %u servers of this pool", &max) != 1)
        return;
    CHECK(max == pins_max() || scenario_has(KIND_reloads) || scenario_has(KIND_route_changes),
          "a statement was told: %s; they may be %u", text, pins_max());
}
