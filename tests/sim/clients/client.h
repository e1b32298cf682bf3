#pragma once
/*
 * client.h - a simulated client: the state that its session must have, and the checks of each
 * reply.
 *
 * Each client runs on one coroutine.  The oracle, on the model's machine, reads its fields: the
 * simulation has one thread.  A connection of a client is a *login* with a number.  Each statement
 * contains that number, so that statements and replies name their owner.
 *
 * A behaviour returns OK when every check held and the connection stays open.  It returns CLOSED
 * when the connection was lost for a reason that the plan allows (sim_client_lost checks that).
 */
#include "clients/conn.h"
#include "runner/check.h"
#include "runner/plan.h"

enum setting { SETTING_ZONE, SETTING_DATE, SETTING_INTERVAL, SETTINGS };
#define SETTING_VALUES 3
extern const char *const setting_names[SETTINGS];
extern const char *const setting_values[SETTINGS][SETTING_VALUES];

/* The settings that a session must have; a rollback restores an earlier copy. */
struct expected_settings {
    uint8_t values[SETTINGS];  /* index of the value */
    uint8_t lasting[SETTINGS]; /* the value after the transaction: without SET LOCAL */
};

#define SAVEPOINTS  3
#define PREPARED    4
#define CLIENT_TEXT 160

enum sim_client_pool { CLIENT_TRANSACTION, CLIENT_SESSION, CLIENT_STATEMENT };

struct sim_client {
    uint32_t number; /* of the client, the same in all its logins */
    uint64_t chance;
    enum sim_client_pool pool;
    struct machine *home;
    bool hostile; /* behave_hostile.c; what it does excuses no loss of another client */

    /* Of this login. */
    bool connected;
    bool logged_in;
    bool is_new;    /* it has logged in after the faults ended */
    uint32_t login; /* its number; 0: it has not logged in */
    struct conn conn;
    char name[32];      /* application_name; empty: none */
    uint32_t identity;  /* of the routes when it logged in */
    bool identity_sure; /* no reload was on its way then */
    uint32_t pid;
    struct wire_secret secret;
    char last_error[6]; /* SQLSTATE of the error that ended it; empty: none */
    uint8_t status;     /* 'I', 'T', 'E': the transaction, as it must be */
    struct expected_settings now;
    struct expected_settings before;         /* the transaction */
    struct expected_settings at[SAVEPOINTS]; /* each savepoint */
    uint32_t rows_at[SAVEPOINTS];            /* rows of the record then */
    uint32_t savepoints;
    uint8_t reset[SETTINGS];     /* what RESET goes back to */
    char reported[SETTINGS][64]; /* by ParameterStatus */
    bool prepared[PREPARED];     /* named statements */
    bool has_record;
    uint32_t record;
    bool may_commit;     /* the end of the transaction was sent, and replies are missing */
    uint32_t statements; /* sent in this login; numbers them */
    bool listens;
    bool holds_long_message; /* the pooler holds a long message of it */
    bool unsplit;            /* messages are sent in one write: their time is measured */
    uint32_t ready_due;      /* of a hostile client: ReadyForQuery messages that may come */
    bool left_prepared;      /* SQL's DEALLOCATE has failed */
    deadline waits_since;    /* when it sent what it waits for */
    deadline sent_at;        /* its last write, or the last ReadyForQuery */

    /* For the oracle. */
    bool sets; /* statements in progress may change settings */
    uint32_t
        late_login;     /* an old primary has run a statement of it, after one ran at the new one */
    bool wants_cancel;  /* it has sent a cancel request in this login, or has disconnected */
    bool waits;         /* for a reply */
    bool refused;       /* a claim of its batch was; the next may have been made long ago */
    moment reads_since; /* all of its batch is sent */
    bool idle;          /* it was outside of a transaction when it sent */
    bool begun;         /* a statement that it sent has begun */
    deadline begun_at;  /* NEVER: every statement that began has its reply */
    deadline ran_at;    /* the beginning of the latest statement */
};

/** The coroutine of a client. */
void sim_client_main(void *client);

/** Returns the address and the options of its connections. */
struct link_target;
void sim_client_target(const struct sim_client *client, struct link_target *ret);
/** Connects and logs in. */
fault sim_client_connect(struct sim_client *client) MUST_USE;
/** Closes the connection without Terminate. */
void sim_client_close(struct sim_client *client);
/** Records a lost connection; checks that the plan allows it.  Returns CLOSED. */
fault sim_client_lost(struct sim_client *client, fault why);
/** Does the same for a FATAL error. */
fault sim_client_terminated(struct sim_client *client, const struct wire_error *error);
/** Reads the next message that is not asynchronous.  CLOSED: the connection was lost, or a FATAL
 *  error came. */
fault sim_client_next(struct sim_client *client) MUST_USE;
/** Reads asynchronous messages for this time.  CLOSED as above. */
fault sim_client_receive_for(struct sim_client *client, duration max) MUST_USE;
/** Sends the contents of the buffer. */
fault sim_client_flush(struct sim_client *client) MUST_USE;
/** Checks the values in ParameterStatus. */
void sim_client_check_settings(const struct sim_client *client);
/** Checks that no message follows the last reply. */
void sim_client_check_no_surplus(struct sim_client *client);
/** Begins a transaction. */
fault sim_client_start_transaction(struct sim_client *client) MUST_USE;
/** Rolls back the open transaction. */
fault sim_client_roll_back(struct sim_client *client) MUST_USE;
/** Closes the record of the transaction: committed, or rolled back. */
void sim_client_settle_record(struct sim_client *client, bool done);

static inline uint32_t sim_client_draw(struct sim_client *client, uint32_t limit)
{
    return chance_below(&client->chance, limit);
}
static inline bool sim_client_one_in(struct sim_client *client, uint32_t many)
{
    return chance_one_in(&client->chance, many);
}
/** Suspends for a random time up to `most_us`. */
fault sim_client_pause(struct sim_client *client, uint32_t most_us) MUST_USE;
