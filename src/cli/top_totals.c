/*
 * top_totals.c - the numbers over all pools: sums, quantiles of an interval, slots by state.
 */
#include "cli/top_parts.h"

/* --- sums ------------------------------------------------------------------------------------- */

static struct top_value known(double number)
{
    return (struct top_value){.known = true, .number = number};
}

/* The place of a column among those that the panel has; -1: the daemon does not have it. */
static int place_of(const struct top_panel *panel, const char *name)
{
    for (size_t i = 0; i < panel->column_count; i++)
        if (strcmp(panel->kind->columns[panel->columns[i]].name, name) == 0)
            return (int)i;
    return -1;
}

/* Sums what is known of a column.  Unknown if no row is known, but 0 if there are no rows. */
static struct top_value sum_of(const struct top_panel *panel, const char *name)
{
    int place = place_of(panel, name);
    struct top_value sum = {.known = place >= 0 && panel->rows == 0};
    for (uint32_t row = 0; place >= 0 && row < panel->rows; row++) {
        const struct top_value *value = top_frame_value(panel, row, (size_t)place);
        sum.known |= value->known;
        sum.number += value->known ? value->number : 0;
    }
    return sum;
}

static struct top_value greatest_of(const struct top_panel *panel, const char *name)
{
    int place = place_of(panel, name);
    struct top_value greatest = {.known = place >= 0};
    for (uint32_t row = 0; place >= 0 && row < panel->rows; row++) {
        const struct top_value *value = top_frame_value(panel, row, (size_t)place);
        if (value->known)
            greatest.number = MAX_OF(greatest.number, value->number);
    }
    return greatest;
}

/* --- quantiles -------------------------------------------------------------------------------- */

struct columns {
    int kind;
    int from;
    int below;
    int count;
};

static struct columns columns_of(const struct top_table *table)
{
    return (struct columns){top_table_column(table, "kind"), top_table_column(table, "from_us"),
                            top_table_column(table, "below_us"), top_table_column(table, "count")};
}

/* What a bucket counted before; 0: it had no row. */
static double count_before(const struct top_table *before, struct columns at, const char *kind,
                           const char *from)
{
    double count;
    for (uint32_t row = 0; row < before->rows; row++) {
        const char *text = top_table_cell(before, row, at.kind);
        const char *start = top_table_cell(before, row, at.from);
        if (text != NULL && start != NULL && strcmp(start, from) == 0 && strcmp(text, kind) == 0 &&
            top_table_number(before, row, at.count, &count))
            return count;
    }
    return 0;
}

#define BUCKETS_MAX 512u

/* The buckets of one kind that have counted between two readings, shortest first. */
struct buckets {
    double middle[BUCKETS_MAX];
    double count[BUCKETS_MAX];
    size_t used;
    double all;
    bool reset; /* a bucket counts less than before */
};

static void buckets_read(struct buckets *buckets, const struct top_table *now,
                         const struct top_table *before, const char *kind)
{
    struct columns at = columns_of(now), then = columns_of(before);
    double from, below, count;
    *buckets = (struct buckets){.used = 0};
    for (uint32_t row = 0; row < now->rows && buckets->used < BUCKETS_MAX; row++) {
        const char *text = top_table_cell(now, row, at.kind);
        if (text == NULL || strcmp(text, kind) != 0 ||
            !top_table_number(now, row, at.from, &from) ||
            !top_table_number(now, row, at.count, &count))
            continue;
        count -= count_before(before, then, kind, top_table_cell(now, row, at.from));
        buckets->reset |= count < 0;
        if (!top_table_number(now, row, at.below, &below) || below <= from + 1)
            below = from;
        buckets->middle[buckets->used] = (from + below) / 2;
        buckets->count[buckets->used++] = count;
        buckets->all += count;
    }
}

static struct top_value quantile_of(const struct buckets *buckets, double share)
{
    double seen = 0;
    if (buckets->reset || buckets->all <= 0)
        return (struct top_value){.known = false};
    for (size_t i = 0; i < buckets->used; i++) {
        seen += buckets->count[i];
        if (seen > 0 && seen >= buckets->all * share)
            return known(buckets->middle[i]);
    }
    return known(buckets->middle[buckets->used - 1]);
}

static void fill_quantiles(struct top_frame *frame, const struct top_reading *now,
                           const struct top_reading *before)
{
    static const struct {
        const char *kind;
        enum top_total_id middle, high;
    } rows[] = {{"wait", TOP_TOTAL_WAIT_P50, TOP_TOTAL_WAIT_P99},
                {"query", TOP_TOTAL_QUERY_P50, TOP_TOTAL_QUERY_P99},
                {"transaction", TOP_TOTAL_TRANSACTION_P50, TOP_TOTAL_TRANSACTION_P99}};
    struct buckets buckets;
    if (before == NULL || before->session != now->session || !now->has[TOP_VIEW_HISTOGRAMS] ||
        !before->has[TOP_VIEW_HISTOGRAMS])
        return;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        buckets_read(&buckets, &now->tables[TOP_VIEW_HISTOGRAMS],
                     &before->tables[TOP_VIEW_HISTOGRAMS], rows[i].kind);
        frame->totals[rows[i].middle] = quantile_of(&buckets, 0.5);
        frame->totals[rows[i].high] = quantile_of(&buckets, 0.99);
    }
}

/* --- slots ------------------------------------------------------------------------------------ */

static void count_slots(struct top_frame *frame, const struct top_table *slots)
{
    int state = top_table_column(slots, "state");
    for (enum top_total_id id = TOP_TOTAL_CONNECTING; id <= TOP_TOTAL_FAILED; id++)
        frame->totals[id] = (struct top_value){.known = state >= 0};
    for (uint32_t row = 0; state >= 0 && row < slots->rows; row++) {
        const char *text = top_table_cell(slots, row, state);
        for (enum top_total_id id = TOP_TOTAL_CONNECTING; id <= TOP_TOTAL_FAILED; id++)
            if (text != NULL && strcmp(text, top_total_kinds[id].name) == 0)
                frame->totals[id].number += 1;
    }
}

/* Without SHOW SLOTS: what SHOW POOLS counts.  Checks and failures are not among it. */
static void count_servers(struct top_frame *frame)
{
    const struct top_panel *pools = &frame->panels[TOP_POOLS];
    struct top_value canceled = sum_of(pools, "canceled");
    frame->totals[TOP_TOTAL_CONNECTING] = sum_of(pools, "login");
    frame->totals[TOP_TOTAL_IDLE] = sum_of(pools, "idle");
    frame->totals[TOP_TOTAL_CLAIMED] = sum_of(pools, "claimed");
    frame->totals[TOP_TOTAL_CLAIMED].number += canceled.number;
    frame->totals[TOP_TOTAL_RECYCLING] = sum_of(pools, "recycling");
}

void top_totals_fill(struct top_frame *frame, const struct top_reading *now,
                     const struct top_reading *before)
{
    const struct top_panel *pools = &frame->panels[TOP_POOLS];
    const struct top_panel *databases = &frame->panels[TOP_DATABASES];
    const struct top_panel *relays = &frame->panels[TOP_RELAYS];
    struct top_value *totals = frame->totals;
    totals[TOP_TOTAL_CLIENTS] = sum_of(relays, "clients");
    totals[TOP_TOTAL_SERVERS] = sum_of(relays, "servers");
    totals[TOP_TOTAL_WAITING] = sum_of(pools, "waiting");
    totals[TOP_TOTAL_OLDEST_WAIT] = greatest_of(pools, "oldest_wait");
    totals[TOP_TOTAL_CLAIMS] = sum_of(databases, "claims/s");
    totals[TOP_TOTAL_TRANSACTIONS] = sum_of(databases, "transactions/s");
    totals[TOP_TOTAL_QUERIES] = sum_of(databases, "queries/s");
    totals[TOP_TOTAL_LOGINS] = sum_of(databases, "logins/s");
    totals[TOP_TOTAL_RECEIVED] = sum_of(databases, "received/s");
    totals[TOP_TOTAL_SENT] = sum_of(databases, "sent/s");
    fill_quantiles(frame, now, before);
    if (now->has[TOP_VIEW_SLOTS])
        count_slots(frame, &now->tables[TOP_VIEW_SLOTS]);
    else
        count_servers(frame);
}
