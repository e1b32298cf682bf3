#include "session/ledger.h"
#include "unit.h"
#include "wire/message.h"

#include <string.h>

/*
 * The ledger against a small model of PostgreSQL: random messages, random failures, random delays
 * on both ways.  At every moment the ledger is empty exactly when the model will say nothing more.
 *
 * What the model reads and says is that of PostgresMain and CopyGetData: an error in the extended
 * protocol skips all up to the next Sync, also a Query; a COPY ignores Sync and Flush; data outside
 * of a COPY is ignored.  tests/integration/test_copy_facts.py holds PostgreSQL to the same.
 *
 * Whether a COPY that fails had read a Sync that was sent into it can't be known from outside.  The
 * ledger is then unsure, and a mark must tell: the model fails the test if one comes while it reads
 * COPY data or skips, where PostgreSQL would close the connection or lose it.  What a client sends
 * behind such a Sync before it is answered makes the play murky: answers may be taken for those of
 * other messages of the same client, and only the mark behind its end is held to anything.
 */
#define SEEDS 400
#define STEPS 600
#define QUEUE 512

struct message {
    char type; /* of the client: P B D E C S Q F d c f H; of ours: M, a mark */
    bool fails;
    bool copies; /* E, Q: COPY FROM STDIN */
    uint8_t fate;
    uint8_t said; /* E, Q: how it is answered */
};

struct answer {
    char type;
    uint8_t fate;
};

struct model {
    struct message in[QUEUE];
    int in_count;
    struct answer out[QUEUE];
    int out_count;
    bool skipping;
    bool copying;
    struct message copy; /* who began it */
};

struct play {
    uint64_t chance;
    struct ledger ledger;
    struct model model;
    int owed; /* entries with something to settle */
    int answered;
    int dropped;
    enum { FREE, BEGUN } copy; /* what the client is doing */
    bool murky;                /* see above */
    bool breached;
    int marks;
};

/* In all seeds. */
static int marks_in_all, murky_in_all;

static uint32_t below(struct play *play, uint32_t limit)
{
    play->chance = play->chance * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(play->chance >> 33) % limit;
}

/* --- the model -------------------------------------------------------------------------------- */

static void say(struct model *model, const char *types, uint8_t fate)
{
    for (; *types != '\0'; types++) {
        ck_assert_int_lt(model->out_count, QUEUE);
        model->out[model->out_count++] = (struct answer){*types, fate};
    }
}

static void model_end_copy(struct model *model, const char *words)
{
    model->copying = false;
    say(model, words, model->copy.fate);
    if (model->copy.type == 'Q')
        say(model, "Z", model->copy.fate);
    else
        model->skipping = words[0] == 'E';
}

static void model_copy_reads(struct model *model, const struct message *message)
{
    if (message->type == 'd' && message->fails)
        model_end_copy(model, "E");
    else if (message->type == 'c')
        model_end_copy(model, message->fails ? "E" : "C");
    else if (message->type == 'f')
        model_end_copy(model, "E");
    else
        ck_assert_ptr_nonnull(strchr("dSH", message->type));
}

static void model_executes(struct model *model, const struct message *message)
{
    static const char *const words[] = {"C", "DDC", "I", "Ds", "HddcC", "NDSC"};
    static const char *const texts[] = {"CZ", "TDDCZ", "IZ", "TDCTDCZ", "HddcCZ", "TDEZ"};
    if (message->copies) {
        model->copying = true;
        model->copy = *message;
        say(model, "G", message->fate);
        return;
    }
    say(model, message->type == 'E' ? words[message->said] : texts[message->said], message->fate);
}

static const char *plain_answer(char type, uint8_t said)
{
    switch (type) {
    case 'P':
        return "1";
    case 'B':
        return "2";
    case 'C':
        return "3";
    case 'D':
        return said % 2 == 0 ? "tT" : "n";
    case 'F':
        return "VZ";
    case 'S':
        return "Z";
    default:
        return "";
    }
}

static void model_reads_mark(struct model *model)
{
    ck_assert_msg(!model->skipping, "a mark that is lost");
    say(model, "CTMCCZ", FATE_SWALLOW); /* M: the row with its random bits */
}

static void model_reads(struct model *model, const struct message *message)
{
    if (message->type == 'M') {
        model_reads_mark(model);
        return;
    }
    if (message->type == 'S')
        model->skipping = false;
    if (model->skipping || strchr("dcfH", message->type) != NULL)
        return;
    if (message->fails) {
        bool extended = strchr("PBDEC", message->type) != NULL;
        say(model, extended ? "E" : "EZ", message->fate);
        model->skipping = extended;
        return;
    }
    if (message->type == 'E' || message->type == 'Q')
        model_executes(model, message);
    else
        say(model, plain_answer(message->type, message->said), message->fate);
}

static void model_step(struct model *model)
{
    if (model->in_count == 0)
        return;
    struct message message = model->in[0];
    model->in_count -= 1;
    memmove(model->in, model->in + 1, (size_t)model->in_count * sizeof(model->in[0]));
    if (model->copying)
        model_copy_reads(model, &message);
    else
        model_reads(model, &message);
}

/* Whether it will say anything, or waits for the end of a COPY. */
static bool model_owes(const struct model *model)
{
    static struct model ahead;
    ahead = *model;
    while (ahead.in_count > 0 && ahead.out_count == 0)
        model_step(&ahead);
    return ahead.out_count > 0 || ahead.copying;
}

/* --- between client and model ----------------------------------------------------------------- */

static void settle(void *owner, const struct owed *owed, enum owed_end end)
{
    struct play *play = owner;
    ck_assert_int_eq(owed->about, ABOUT_STATE);
    if (end == OWED_ANSWERED)
        play->answered += 1;
    else
        play->dropped += 1;
}

static void give(struct play *play)
{
    const struct owed *head;
    while ((head = ledger_head(&play->ledger)) != NULL && head->fate == FATE_SYNTHETIC)
        ledger_give(&play->ledger);
}

static enum owed_kind kind_of(char type)
{
    static const char types[] = "QFSPBDECM";
    static const enum owed_kind kinds[] = {OWED_QUERY,   OWED_FUNCTION, OWED_SYNC,
                                           OWED_PARSE,   OWED_BIND,     OWED_DESCRIBE,
                                           OWED_EXECUTE, OWED_CLOSE,    OWED_MARK};
    const char *at = strchr(types, type);
    return at == NULL ? OWED_NOTHING : kinds[at - types];
}

static void send(struct play *play, struct message message)
{
    enum owed_kind kind = kind_of(message.type);
    if (message.type == 'c' || message.type == 'f')
        ledger_copy_ends(&play->ledger);
    if (kind != OWED_NOTHING) {
        bool about = kind != OWED_SYNC && kind != OWED_MARK && below(play, 2) == 0;
        play->murky =
            play->murky || (play->ledger.unsure && kind != OWED_SYNC && kind != OWED_MARK);
        play->owed += about;
        ck_assert(ledger_has_room(&play->ledger, 1));
        ledger_owe(&play->ledger, (struct owed){.kind = (uint8_t)kind,
                                                .fate = message.fate,
                                                .about = about ? ABOUT_STATE : ABOUT_NOTHING});
    }
    if (message.fate != FATE_SYNTHETIC)
        play->model.in[play->model.in_count++] = message;
    give(play);
}

/* A COPY has failed, and behind a Sync that it may have read more was sent already. */
static void note_murk(struct play *play)
{
    const struct ledger *ledger = &play->ledger;
    for (uint32_t i = 1; ledger->unsure && i < ledger->count; i++)
        play->murky =
            play->murky || (ledger->ring[(ledger->head + i) & ledger->mask].kind != OWED_SYNC &&
                            !ledger_marking(ledger));
}

static void receive(struct play *play)
{
    struct model *model = &play->model;
    if (model->out_count == 0)
        return;
    struct answer answer = model->out[0];
    model->out_count -= 1;
    memmove(model->out, model->out + 1, (size_t)model->out_count * sizeof(model->out[0]));
    bool row = answer.type == 'M';
    answer.type = row ? 'D' : answer.type;
    ledger_align(&play->ledger, (uint8_t)answer.type);
    if (row)
        ledger_mark_shown(&play->ledger);
    enum ledger_verdict verdict = ledger_take(&play->ledger, (uint8_t)answer.type);
    play->breached = verdict == VERDICT_BREACH;
    if (!play->murky) {
        ck_assert_msg(!play->breached, "a breach by '%c'", answer.type);
        ck_assert_int_eq(verdict, answer.fate == FATE_SWALLOW ? VERDICT_SWALLOW : VERDICT_FORWARD);
    }
    note_murk(play);
    give(play);
}

/* --- the client ------------------------------------------------------------------------------- */

/* A COPY is under way, as far as the client knows: data, Syncs, at last the end, which may all be
 * sent before the server has asked for it. */
static void send_in_copy(struct play *play)
{
    struct message message = {.type = "ddSH"[below(play, 4)]};
    if (message.type == 'd')
        message.fails = below(play, 8) == 0;
    if (below(play, 5) == 0) {
        message = (struct message){.type = below(play, 3) > 0 ? 'c' : 'f'};
        message.fails = message.type == 'c' && below(play, 5) == 0;
        play->copy = FREE;
    }
    send(play, message);
}

static void send_any(struct play *play)
{
    struct message message = {.type = "PPBBDDEEECSSSQQFH"[below(play, 17)]};
    message.fails = message.type != 'H' && below(play, 9) == 0;
    message.said = (uint8_t)below(play, 6);
    if (strchr("PBDEC", message.type) != NULL || message.type == 'Q')
        message.fate = below(play, 4) == 0 ? FATE_SWALLOW : FATE_FORWARD;
    if ((message.type == 'P' || message.type == 'C') && below(play, 3) == 0)
        message.fate = FATE_SYNTHETIC;
    message.copies = (message.type == 'E' || message.type == 'Q') && below(play, 5) == 0;
    if (message.copies)
        play->copy = BEGUN;
    send(play, message);
}

static void check(struct play *play)
{
    int left = 0;
    for (uint32_t i = 0; i < play->ledger.count; i++)
        left += play->ledger.ring[(play->ledger.head + i) & play->ledger.mask].about != 0;
    ck_assert_int_eq(play->owed, play->answered + play->dropped + left);
    if (play->murky || play->ledger.unsure)
        return;
    ck_assert_int_eq(!ledger_empty(&play->ledger), model_owes(&play->model));
}

/* The mark is sent, and all is read up to its end: then both sides have nothing more to say. */
static void mark(struct play *play)
{
    send(play, (struct message){.type = 'M', .fate = FATE_SWALLOW});
    play->marks += 1;
    while (play->model.in_count > 0 || play->model.out_count > 0) {
        model_step(&play->model);
        receive(play);
    }
    ck_assert(ledger_empty(&play->ledger) && !play->ledger.unsure);
    ck_assert(!play->model.copying && !play->model.skipping);
    play->ledger.doubt = 0;
}

/* Only Syncs are owed: a client that is connected still hears those that are answered. */
static void may_mark(struct play *play)
{
    if (!play->murky && play->copy == FREE && ledger_may_mark(&play->ledger) &&
        !ledger_empty(&play->ledger) && below(play, 2) == 0)
        mark(play);
}

/* The client has gone: all that it left fails, and is for nobody. */
static void abandon(struct play *play)
{
    const struct message end[] = {
        {.type = 'f'}, {.type = 'E', .fails = true}, {.type = 'S'}, {.type = 'Q', .said = 0}};
    for (size_t i = 0; i < ARRAY_SIZE(end); i++)
        play->model.in[play->model.in_count++] = end[i];
    ledger_drop_all(&play->ledger);
    play->murky = true; /* what comes before the mark has no fate */
    mark(play);
}

static void play_step(struct play *play)
{
    uint32_t what = below(play, 4);
    if (what == 2) {
        model_step(&play->model);
    } else if (what == 3) {
        receive(play);
    } else if (play->model.in_count < 32 && play->model.out_count < 256) {
        if (play->copy == FREE)
            send_any(play);
        else
            send_in_copy(play);
    }
    may_mark(play);
    check(play);
}

/* A last batch, read to its end. */
static void play_end(struct play *play)
{
    if (play->copy != FREE)
        send(play, (struct message){.type = 'c'});
    send(play, (struct message){.type = 'S'});
    while (play->model.in_count > 0 || play->model.out_count > 0) {
        model_step(&play->model);
        receive(play);
        check(play);
    }
    if (play->murky)
        abandon(play);
    else if (play->ledger.unsure)
        mark(play);
    ck_assert(ledger_empty(&play->ledger));
    ck_assert(!ledger_needs_sync(&play->ledger));
}

static void play_seed(uint64_t seed)
{
    static struct play play;
    play = (struct play){.chance = seed};
    ledger_init(&play.ledger, settle, &play);
    for (int i = 0; i < STEPS && !play.murky; i++)
        play_step(&play);
    murky_in_all += play.murky;
    if (play.murky || seed % 2 == 0)
        abandon(&play);
    else
        play_end(&play);
    ck_assert_int_eq(play.owed, play.answered + play.dropped);
    marks_in_all += play.marks;
    ledger_fini(&play.ledger);
}

TEST(the_ledger_is_empty_exactly_when_the_server_has_nothing_to_say)
{
    marks_in_all = murky_in_all = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        play_seed(seed * 0x9e3779b97f4a7c15);
    ck_assert_int_gt(marks_in_all, SEEDS / 2);
    ck_assert_int_gt(murky_in_all, SEEDS / 10);
    ck_assert_int_lt(murky_in_all, SEEDS);
}
END_TEST

TESTS("ledger_model", the_ledger_is_empty_exactly_when_the_server_has_nothing_to_say)
