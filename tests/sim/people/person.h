#pragma once
/*
 * person.h - a client: what it believes of its connection, and how it holds the answers to that.
 *
 * Lives on one coroutine of a machine of its own kind; the oracle, on the model's machine, reads
 * it (the simulation is one thread).  A connection is a *login*: each has a number of its own that
 * stands in everything that it says, so that an answer or a statement names whose it is.
 *
 * Behaviours return OK when all was as it must be and the connection goes on, CLOSED when it was
 * lost for a reason that the world has given (person_lost proves that), and nothing else.
 */
#include "people/talk.h"
#include "runner/plan.h"
#include "runner/proof.h"

enum setting { SETTING_ZONE, SETTING_DATE, SETTING_INTERVAL, SETTINGS };
#define SETTING_VALUES 3
extern const char *const setting_names[SETTINGS];
extern const char *const setting_values[SETTINGS][SETTING_VALUES];

/* What a transaction takes back when it fails. */
struct belief {
    uint8_t values[SETTINGS];  /* number of the value */
    uint8_t lasting[SETTINGS]; /* what it is without SET LOCAL */
};

#define SAVEPOINTS  3
#define PREPARED    4
#define PERSON_TEXT 160

enum person_pool { PERSON_TRANSACTION, PERSON_SESSION, PERSON_STATEMENT };

struct person {
    uint32_t number; /* of the client, over all its logins */
    uint64_t chance;
    enum person_pool pool;
    struct machine *home;
    bool hostile; /* do_hostile.c; nothing that it does is an excuse for the others */

    /* Of this login. */
    bool connected;
    bool greeted;
    bool is_new;    /* it has come into a calm world */
    uint32_t login; /* its number; 0: none yet */
    struct talk talk;
    char name[32]; /* its application_name; empty: it has none */
    uint32_t pid;
    struct wire_secret secret;
    char last_word[6]; /* the SQLSTATE of what has ended it; empty: nothing has */
    uint8_t status;    /* 'I', 'T', 'E': the transaction, as it must be */
    struct belief now;
    struct belief before;         /* the transaction */
    struct belief at[SAVEPOINTS]; /* each savepoint */
    uint32_t rows_at[SAVEPOINTS]; /* of the deed */
    uint32_t savepoints;
    uint8_t reset[SETTINGS];     /* what RESET goes back to */
    char reported[SETTINGS][64]; /* by ParameterStatus */
    bool prepared[PREPARED];     /* named statements */
    bool has_deed;
    uint32_t deed;
    bool may_commit; /* what ends the transaction was put, and not all answers have come */
    uint32_t said;   /* statements, in this login: names them */
    bool listens;
    bool holds_much;    /* a long message of it is on its way */
    bool whole;         /* what it says is sent in one piece: its time is measured */
    uint32_t owed;      /* of a hostile one: ReadyForQuery that may come */
    bool left_prepared; /* SQL's DEALLOCATE has failed */
    deadline asked_at;  /* the beginning of what it waits for */
    deadline said_at;   /* its last word, or the last ReadyForQuery */

    /* For the oracle. */
    bool sets;         /* what is under way may change settings */
    bool wants_cancel; /* it has asked for one in this login, or is gone */
    bool waits;        /* for an answer */
    bool idle;         /* was, when it asked */
    bool begun;        /* a statement of what it asked has begun */
    deadline begun_at; /* NEVER: all that it has begun is answered */
    deadline ran_at;   /* the same, of the latest that has begun */
};

/** Everything that it does, on a coroutine of its own. */
void person_main(void *person);

/** Where it connects to, and how. */
struct link_target;
void person_target(const struct person *person, struct link_target *ret);
/** Connects and logs in. */
fault person_begin(struct person *person) MUST_USE;
/** Closes without a word. */
void person_end(struct person *person);
/** The connection was lost: proves that there is a reason, forgets it; returns CLOSED. */
fault person_lost(struct person *person, fault why);
/** The same for an error that ends it. */
fault person_dismissed(struct person *person, const struct wire_error *error);
/** The next message that is no notice, notification or parameter.  CLOSED when it was lost: a FATAL
 *  error is. */
fault person_next(struct person *person) MUST_USE;
/** What comes unasked, for so long.  CLOSED as above. */
fault person_hears(struct person *person, duration max) MUST_USE;
/** Sends what is in the buffer. */
fault person_flush(struct person *person) MUST_USE;
/** What servers report is what it must be. */
void person_check_settings(const struct person *person);
/** All that it has asked is answered, and nothing more comes. */
void person_check_silence(struct person *person);
/** Into a transaction, unless that is refused. */
fault person_begins(struct person *person) MUST_USE;
/** Out of the transaction that it is in. */
fault person_rolls_back(struct person *person) MUST_USE;
/** What is open in a transaction is settled. */
void person_settle(struct person *person, bool done);

static inline uint32_t person_draw(struct person *person, uint32_t limit)
{
    return chance_below(&person->chance, limit);
}
static inline bool person_one_in(struct person *person, uint32_t many)
{
    return chance_one_in(&person->chance, many);
}
/** Suspends for up to so long. */
fault person_rests(struct person *person, uint32_t most_us) MUST_USE;
