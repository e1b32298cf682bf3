#include "stage/stage.h"

#include "machine/sim/world.h"
#include "model/model.h"
#include "wire/scram.h"

#include <stdio.h>
#include <string.h>

/*
 * Who knows which password.  SCRAM has one iteration, since thousands take all of a seed's time.
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
    static const enum proof proofs[] = {PROOF_SCRAM, PROOF_SCRAM, PROOF_SCRAM, PROOF_MD5,
                                        PROOF_PASSWORD};
    uint64_t chance = plan_chance(plan, CHANCE_SECRETS);
    if (!plan_has(plan, KIND_scram))
        return;
    setup->proof = proofs[chance_below(&chance, ARRAY_SIZE(proofs))];
    setup->server_proof = proofs[chance_below(&chance, ARRAY_SIZE(proofs))];
    setup->server_password = chance_one_in(&chance, 3) || plan_has(plan, KIND_commands);
    /* What the client has proven is good for the same proof only, but for the password itself. */
    if (!setup->server_password && setup->proof != PROOF_PASSWORD)
        setup->server_proof = setup->proof;
}

static void joe_secret(const struct setup *setup, char joe[SCRAM_VERIFIER_MAX])
{
    if (setup->proof == PROOF_MD5)
        md5_secret(SPAN(STAGE_PASSWORD), SPAN("joe"), joe);
    else if (setup->proof == PROOF_PASSWORD)
        snprintf(joe, SCRAM_VERIFIER_MAX, "%s", STAGE_PASSWORD);
    else
        verifier_make(STAGE_PASSWORD, joe);
}

void secrets_put_question(const struct setup *setup, struct buffer *out)
{
    char joe[SCRAM_VERIFIER_MAX];
    if (!stage_has(KIND_asking))
        return;
    joe_secret(setup, joe);
    buffer_printf(out,
                  "auth_query: {user: asker, database: %s, refresh: 300ms, timeout: 3s,\n"
                  "  query: \"SELECT $1, '%s'\"}\n",
                  STAGE_ASKING, joe);
}

void secrets_put(const struct setup *setup)
{
    char admin[SCRAM_VERIFIER_MAX], joe[SCRAM_VERIFIER_MAX], text[2 * SCRAM_VERIFIER_MAX + 64];
    verifier_make("secret", admin);
    joe_secret(setup, joe);
    /* Who is asked for is not in the file. */
    if (stage_has(KIND_asking))
        snprintf(text, sizeof(text), "\"admin\" \"%s\"\n", admin);
    else
        snprintf(text, sizeof(text), "\"admin\" \"%s\"\n\"joe\" \"%s\"\n", admin, joe);
    sim_file_put_text("/etc/trunkline/users.txt", text);
}

/* On a thread of its own, which may wait. */
static int secrets_run(void *argument UNUSED, const char *const *words, deadline by UNUSED,
                       struct os_output *output)
{
    static const char said[] = STAGE_PASSWORD "\n";
    PROVE(strcmp(words[2], "tell") == 0 && strcmp(words[4], "joe") == 0, "'%s' is run for '%s'",
          words[2], words[4]);
    PROVE(sizeof(said) - 1 <= output->max);
    memcpy(output->at, said, sizeof(said) - 1);
    output->size = sizeof(said) - 1;
    return 0;
}

void secrets_tell(void)
{
    sim_run_by(stage_has(KIND_commands) ? secrets_run : NULL, NULL);
}

const char *secrets_method(const struct setup *setup)
{
    static const char *const names[] = {[PROOF_NONE] = "trust",
                                        [PROOF_SCRAM] = "scram-sha-256",
                                        [PROOF_MD5] = "md5",
                                        [PROOF_PASSWORD] = "password"};
    return names[setup->proof];
}

void secrets_user(const struct setup *setup, struct model_user *user)
{
    static const enum model_method methods[] = {
        [PROOF_SCRAM] = MODEL_SCRAM, [PROOF_MD5] = MODEL_MD5, [PROOF_PASSWORD] = MODEL_CLEARTEXT};
    *user = (struct model_user){.name = "joe", .replication = true};
    if (setup->proof == PROOF_NONE)
        return;
    user->password = STAGE_PASSWORD;
    user->method = methods[setup->server_proof];
    /* The same salt as in the file: keys pass through. */
    verifier_make(STAGE_PASSWORD, joe_verifier);
    user->verifier = joe_verifier;
}
