#include "scenario/scenario.h"

#include "machine/sim/world.h"
#include "model/model.h"
#include "wire/scram.h"

#include <stdio.h>
#include <string.h>

/*
 * Passwords of users.  SCRAM has one iteration: thousands would take most of a seed's time.
 */
#define CHANCE_SECRETS 2010
#define SALT           "salt of a world"

static char joe_verifier[SCRAM_VERIFIER_MAX];

static void verifier_make(const char *password, char text[SCRAM_VERIFIER_MAX])
{
    struct scram_keys keys;
    struct scram_verifier stored;
    scram_derive(span_text(password), (const uint8_t *)SALT, sizeof(SALT) - 1, 1, &keys);
    scram_verifier_of(&keys, &stored);
    scram_print_verifier(&stored, text);
}

void secrets_draw(struct setup *setup, const struct plan *plan)
{
    static const enum method proofs[] = {METHOD_SCRAM, METHOD_SCRAM, METHOD_SCRAM, METHOD_MD5,
                                         METHOD_PASSWORD};
    uint64_t chance = plan_chance(plan, CHANCE_SECRETS);
    if (!plan_has(plan, KIND_scram))
        return;
    setup->method = proofs[chance_below(&chance, ARRAY_SIZE(proofs))];
    setup->server_method = proofs[chance_below(&chance, ARRAY_SIZE(proofs))];
    setup->server_password = chance_one_in(&chance, 3) || plan_has(plan, KIND_password_command);
    /* What the client has proven is good for the same proof only, but for the password itself. */
    if (!setup->server_password && setup->method != METHOD_PASSWORD)
        setup->server_method = setup->method;
}

static void joe_secret(const struct setup *setup, char joe[SCRAM_VERIFIER_MAX])
{
    if (setup->method == METHOD_MD5)
        md5_secret(SPAN(SCENARIO_PASSWORD), SPAN("joe"), joe);
    else if (setup->method == METHOD_PASSWORD)
        snprintf(joe, SCRAM_VERIFIER_MAX, "%s", SCENARIO_PASSWORD);
    else
        verifier_make(SCENARIO_PASSWORD, joe);
}

void secrets_put_auth_query(const struct setup *setup, struct buffer *out)
{
    char joe[SCRAM_VERIFIER_MAX];
    if (!scenario_has(KIND_auth_query))
        return;
    joe_secret(setup, joe);
    buffer_printf(out,
                  "auth_query: {user: asker, database: %s, refresh: 300ms, timeout: 3s,\n"
                  "  query: \"SELECT $1, '%s'\"}\n",
                  SCENARIO_AUTH_DATABASE, joe);
}

void secrets_put(const struct setup *setup)
{
    char admin[SCRAM_VERIFIER_MAX], joe[SCRAM_VERIFIER_MAX], text[2 * SCRAM_VERIFIER_MAX + 64];
    verifier_make("secret", admin);
    joe_secret(setup, joe);
    /* Users of auth_query are not in the file. */
    if (scenario_has(KIND_auth_query))
        snprintf(text, sizeof(text), "\"admin\" \"%s\"\n", admin);
    else
        snprintf(text, sizeof(text), "\"admin\" \"%s\"\n\"joe\" \"%s\"\n", admin, joe);
    sim_file_put_text("/etc/trunkline/users.txt", text);
}

/* On a thread of its own, which may wait. */
static int secrets_run_command(void *argument UNUSED, const char *const *words, deadline by UNUSED,
                               struct os_output *output)
{
    static const char reply[] = SCENARIO_PASSWORD "\n";
    CHECK(strcmp(words[2], "pass") == 0 && strcmp(words[4], "joe") == 0, "'%s' is run for '%s'",
          words[2], words[4]);
    CHECK(sizeof(reply) - 1 <= output->max);
    memcpy(output->at, reply, sizeof(reply) - 1);
    output->size = sizeof(reply) - 1;
    return 0;
}

void secrets_serve_command(void)
{
    sim_run_by(scenario_has(KIND_password_command) ? secrets_run_command : NULL, NULL);
}

const char *secrets_method(const struct setup *setup)
{
    static const char *const names[] = {[METHOD_TRUST] = "trust",
                                        [METHOD_SCRAM] = "scram-sha-256",
                                        [METHOD_MD5] = "md5",
                                        [METHOD_PASSWORD] = "password"};
    return names[setup->method];
}

void secrets_user(const struct setup *setup, struct model_user *user)
{
    static const enum model_method methods[] = {[METHOD_SCRAM] = MODEL_SCRAM,
                                                [METHOD_MD5] = MODEL_MD5,
                                                [METHOD_PASSWORD] = MODEL_CLEARTEXT};
    *user = (struct model_user){.name = "joe", .replication = true};
    if (setup->method == METHOD_TRUST)
        return;
    user->password = SCENARIO_PASSWORD;
    user->method = methods[setup->server_method];
    /* The same salt as in the file: keys pass through. */
    verifier_make(SCENARIO_PASSWORD, joe_verifier);
    user->verifier = joe_verifier;
}
