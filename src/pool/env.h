#pragma once
/*
 * env.h - what the pooler hands down to everything below it, once, at its start.
 *
 * One for the whole process, made before the relays start and freed after they have ended.  Fields
 * are set before that and never change then, but for those that say otherwise.
 */
#include "base/fault.h"
#include "config/config.h"
#include "machine/machine.h"
#include "session/generation.h"

struct auth_failures;
struct client;
struct guests;
struct pooler;
struct relay;
struct router;

/* A target that is no pool: serves a logged-in client on its relay until it returns; the caller
 * then closes it. */
struct console_target {
    void (*serve)(struct client *client, struct pooler *pooler);
    struct pooler *pooler;
};

struct pooler_env {
    struct machine *machine; /* the pooler thread's */
    struct router *router;
    struct relay *relays[RELAYS_MAX];
    uint32_t relay_count;           /* rises while they are started, before the first client */
    bool stopping;                  /* the pooler thread's: no server is made any more */
    uint8_t mock_secret[32];        /* of mock authentication */
    struct generations generations; /* of the schemas of databases; from any thread */
    struct auth_failures *failures; /* failed logins by address; from any thread */
    struct guests *guests;          /* who has not logged in yet; from any thread */
    uint32_t clients;               /* atomic: that have logged in, or are about to */
    uint32_t clients_max;           /* atomic: what descriptors suffice for */
    struct console_target console;
    void (*relay_ended)(struct mail *mail); /* on the pooler thread: relay->ended has come */
};

/** From any thread. */
uint32_t env_clients(const struct pooler_env *env);
/** Counts a client in; CLIENTS when there are as many as `most`.  From any thread. */
fault env_client_comes(struct pooler_env *env, uint32_t max) MUST_USE;
void env_client_gone(struct pooler_env *env);
