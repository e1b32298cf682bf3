#pragma once
/*
 * answers.h - answers that clients share: registers in the tables reg_a and reg_b.
 *
 * Each register is a row whose value only grows; all clients write it and read it, by texts that
 * are the same for all.  A read begins with what its answer must show at least, by the mode of its
 * rule, and ends with the comparison.  Called by clients and, on the model's machine, by the
 * oracle.
 */
#include "base/check.h"
#include "base/span.h"
#include "base/time.h"

#define ANSWERS_KEYS  2u
#define ANSWERS_TTL   ms(100)
#define ANSWERS_STALE ms(50)

enum answers_mode {
    ANSWERS_OWN,    /* the client's own execution */
    ANSWERS_DEDUPE, /* never of before a write that was acknowledged */
    ANSWERS_TTL_OF, /* of bounded age */
    ANSWERS_STRICT, /* as if the server had been asked */
    ANSWERS_MODES
};
extern const char *const answers_mode_names[ANSWERS_MODES];

/* A read of a register. */
struct answers_read {
    enum answers_mode mode;
    uint32_t table;      /* of model_register_names */
    uint32_t key;        /* from 1; 0: the greatest value of the table */
    bool number;         /* the value is cast to a number, which fails for some */
    uint32_t own;        /* the value that the client's own transaction has written; 0: none */
    const char *context; /* what follows the value: who has executed it; NULL: nothing */
    uint32_t changes;    /* of roles and of the view, that the answer must show */
    uint32_t least;      /* values of the answer */
    uint32_t least_of_error;
};

struct model;
struct sim_client;

void answers_init(void);
/** Puts the rows into the tables. */
void answers_begin(struct model *model);
/** Whether clients read and write them. */
bool answers_exist(void);
/** A transaction was committed: what can be seen now is noted. */
void answers_look(const struct model *model);

/** The value that is to be written next, and its text. */
#define ANSWERS_VALUE 16
uint32_t answers_next(uint32_t table, char text[ANSWERS_VALUE]);
/** A client was told that its write of this value is committed. */
void answers_acknowledged(uint32_t table, uint32_t key, uint32_t value);

/** Sets what the answer must show at least.  Right before the statement is sent. */
void answers_ask(struct answers_read *read);
/** Checks a row. */
void answers_check(const struct sim_client *client, const struct answers_read *read,
                   struct span text);
/** Whether an error is the one of a value that is no number; checks whose value it is. */
bool answers_check_error(const struct sim_client *client, const struct answers_read *read,
                         struct span sqlstate, struct span message);
