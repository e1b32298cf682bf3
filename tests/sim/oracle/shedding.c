#include "oracle/shedding.h"

#include "model/model.h"
#include "scenario/scenario.h"

#include <string.h>

#define TRANSIT  ms(2) /* a message from a client to the model, or back, and the daemon between */
#define LATE_MIN 2u    /* claims that the daemon must not have given a server */

static struct shedding {
    moment slow_since; /* every claim since then has waited too long; 0: the last one has not */
    uint32_t late;     /* of these, beyond claim_delay_interval */
    moment quick;      /* when a claim that had not waited so long got a server; 0: never */
    moment quick_sent; /* and was sent */
} shedding;

void shedding_init(void)
{
    shedding = (struct shedding){0};
}

static bool shedding_applies(const struct sim_client *client)
{
    return scenario_has(KIND_overload) && client->pool == CLIENT_TRANSACTION;
}

static void shedding_begin(moment slow_since)
{
    shedding.slow_since = slow_since;
    shedding.late = 0;
}

void shedding_served(const struct sim_client *client)
{
    if (!shedding_applies(client))
        return;
    /* Of a statement behind the first of a batch it is not known when it was claimed for. */
    bool known = !client->begun && client->idle && client->waits && !client->refused;
    bool whole = known && client->sent_at.us >= client->waits_since.us;
    duration most = between(client->waits_since, now()), least = between(client->sent_at, now());
    if (known && most.us < SCENARIO_DELAY_TARGET.us) {
        shedding.quick = now();
        shedding.quick_sent = client->waits_since;
    }
    if (!whole || least.us < SCENARIO_DELAY_TARGET.us + TRANSIT.us) {
        shedding_begin((moment){0});
        return;
    }
    if (shedding.slow_since.us == 0)
        shedding_begin(now());
    if (between(shedding.slow_since, now()).us > SCENARIO_DELAY_INTERVAL.us + TRANSIT.us)
        shedding.late += 1;
    CHECK(shedding.late <= LATE_MIN,
          "all claims of %lld ms have waited for claim_delay_target, and none was shed",
          (long long)(between(shedding.slow_since, now()).us / 1000));
}

/* The daemon's own statements change settings, in front of the client's. */
void shedding_served_unknown(struct span text)
{
    if (text.size > 4 && (memcmp(text.at, "SET ", 4) == 0 || memcmp(text.at, "RESE", 4) == 0))
        return;
    shedding_begin((moment){0});
}

/* The daemon forgets how long claims have waited when none is left. */
void shedding_freed(const struct model_session_view *session)
{
    uint32_t waiting = 0;
    if (!scenario_has(KIND_overload) || session->status != WIRE_TX_IDLE)
        return;
    for (uint32_t i = 0; i < scenario.plan->clients; i++) {
        const struct sim_client *client = &scenario.clients[i];
        waiting += shedding_applies(client) && client->waits && !client->begun && client->idle &&
                   client->sent_at.us >= client->waits_since.us &&
                   between(client->sent_at, now()).us > TRANSIT.us;
    }
    if (waiting <= scenario_pool_max())
        shedding_begin((moment){0});
}

void shedding_check(const struct sim_client *client, struct span message)
{
    static const char shed[] = "is overloaded: all clients have waited longer";
    if (!shedding_applies(client) ||
        memmem(message.at, message.size, shed, sizeof(shed) - 1) == NULL)
        return;
    shedding_begin((moment){0});
    /* It was told of at once, and behind the claim that had not waited. */
    bool prompt = between(client->reads_since, now()).us > TRANSIT.us;
    CHECK(!prompt || shedding.quick.us == 0 || between(shedding.quick, now()).us <= TRANSIT.us ||
              between(shedding.quick_sent, now()).us >= SCENARIO_DELAY_INTERVAL.us,
          "client %u is shed %lld us after a claim that had waited for less than "
          "claim_delay_target",
          client->number, (long long)between(shedding.quick, now()).us);
}
