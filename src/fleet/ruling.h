#pragma once
/*
 * ruling.h - what an arbiter says of one backend, beside what the backend says of itself.
 *
 * The driver asks the arbiter (of PostgreSQL: Patroni) and fills this in; the fleet decides by it.
 * A ruling holds until the arbiter rules otherwise, or the backend is found in the role that was
 * not asked about: an arbiter that is silent changes nothing.  See primary.h for the primary.  A
 * replica that may not be read from gets no slots of pools that several backends may serve.
 */
#include "base/time.h"

enum ruling_question {
    RULING_PRIMARY, /* is the backend, which calls itself primary, the primary? */
    RULING_READS,   /* may this replica be read from? */
};

struct backend_ruling {
    moment asked; /* when the question was sent */
    enum ruling_question question;
    bool yes;
};
