/*
 * console_filter.c - WHERE, ORDER BY and LIMIT of a SHOW: matching rows are stored as cells until
 * all are there, sorted, and only then written as messages.
 */
#include "admin/console_parts.h"

#include <errno.h>
#include <stdlib.h>

#define CELL_NULL UINT32_MAX
/* Comparisons of a sort, and rows that are written, before other coroutines of the relay run. */
#define COMPARED_AT_A_TIME 4096u
#define ROWS_AT_A_TIME     64u

/* --- parsing ---------------------------------------------------------------------------------- */

static fault unexpected(const struct console_token *token, const char *wanted)
{
    if (token->kind == TOKEN_END)
        return fault_raise(FAULT_SYNTAX, "syntax error at end of command: expected %s", wanted);
    return fault_raise(FAULT_SYNTAX, "syntax error at \"%s\": expected %s", token->text, wanted);
}

static bool is_name(const struct console_token *token)
{
    return token->kind == TOKEN_WORD || token->kind == TOKEN_NAME;
}

static fault read_column(const struct console_command *command, const struct console_token *token,
                         uint8_t *ret)
{
    if (!is_name(token))
        return unexpected(token, "a column");
    for (size_t i = 0; i < command->view->count; i++) {
        if (strcasecmp(command->view->columns[i].name, token->text) != 0)
            continue;
        *ret = (uint8_t)i;
        return OK;
    }
    return fault_raise_state(FAULT_SYNTAX, "42703", "%s has no column \"%s\"", command->words,
                             token->text);
}

static bool is_number(enum column_type type)
{
    return type == COLUMN_INT4 || type == COLUMN_INT8 || type == COLUMN_NUMERIC;
}

static bool read_number(const char *text, long double *ret)
{
    char *end;
    *ret = strtold(text, &end);
    return end != text && *end == '\0' && *ret == *ret;
}

static fault read_value(const struct console_column *column, const struct console_token *token,
                        struct console_condition *condition)
{
    long double number;
    bool value = token->kind == TOKEN_WORD || token->kind == TOKEN_TEXT;
    if (!value)
        return unexpected(token, "a value");
    if (is_number(column->type) && condition->how != COMPARE_LIKE &&
        !read_number(token->text, &number))
        return fault_raise_state(FAULT_SYNTAX, "22P02",
                                 "column \"%s\" is numeric, but \"%s\" is not a number",
                                 column->name, token->text);
    memcpy(condition->value, token->text, sizeof(condition->value));
    return OK;
}

/* Parses IS NULL and IS NOT NULL. */
static fault read_is(struct span *rest, struct console_condition *condition)
{
    struct console_token token;
    TRY(console_token(rest, &token));
    condition->how = COMPARE_NULL;
    if (console_token_is(&token, "NOT")) {
        condition->how = COMPARE_NOT_NULL;
        TRY(console_token(rest, &token));
    }
    return console_token_is(&token, "NULL") ? OK : unexpected(&token, "NULL");
}

static fault read_condition(const struct console_command *command, struct span *rest,
                            struct console_condition *condition)
{
    static const struct {
        const char *sign;
        enum console_comparison how;
    } signs[] = {
        {"=", COMPARE_EQUAL},     {"<>", COMPARE_OTHER},   {"!=", COMPARE_OTHER},
        {"<", COMPARE_LESS},      {"<=", COMPARE_AT_MOST}, {">", COMPARE_GREATER},
        {">=", COMPARE_AT_LEAST}, {"LIKE", COMPARE_LIKE},
    };
    struct console_token token;
    TRY(console_token(rest, &token));
    TRY(read_column(command, &token, &condition->column));
    TRY(console_token(rest, &token));
    if (console_token_is(&token, "IS"))
        return read_is(rest, condition);
    size_t at = 0;
    while (at < ARRAY_SIZE(signs) && !console_token_is(&token, signs[at].sign))
        at++;
    if (at == ARRAY_SIZE(signs))
        return unexpected(&token, "=, <>, <, <=, >, >=, LIKE or IS");
    condition->how = signs[at].how;
    TRY(console_token(rest, &token));
    return read_value(&command->view->columns[condition->column], &token, condition);
}

static fault read_where(const struct console_command *command, struct span *rest,
                        struct console_filter *filter, struct console_token *token)
{
    do {
        if (filter->count == CONSOLE_CONDITIONS_MAX)
            return fault_raise(FAULT_SYNTAX, "too many conditions: at most %u are accepted",
                               CONSOLE_CONDITIONS_MAX);
        TRY(read_condition(command, rest, &filter->conditions[filter->count]));
        filter->count += 1;
        TRY(console_token(rest, token));
    } while (console_token_is(token, "AND"));
    return OK;
}

static fault read_order(const struct console_command *command, struct span *rest,
                        struct console_filter *filter, struct console_token *token)
{
    TRY(console_token(rest, token));
    if (!console_token_is(token, "BY"))
        return unexpected(token, "BY");
    TRY(console_token(rest, token));
    TRY(read_column(command, token, &filter->order));
    filter->ordered = true;
    TRY(console_token(rest, token));
    filter->descending = console_token_is(token, "DESC");
    if (filter->descending || console_token_is(token, "ASC"))
        TRY(console_token(rest, token));
    return OK;
}

static fault read_limit(struct span *rest, struct console_filter *filter,
                        struct console_token *token)
{
    char *end;
    TRY(console_token(rest, token));
    errno = 0;
    filter->limit = strtoull(token->text, &end, 10);
    bool sound = token->kind == TOKEN_WORD && *end == '\0' && errno == 0 && token->text[0] >= '0' &&
                 token->text[0] <= '9';
    if (!sound)
        return unexpected(token, "a number of rows");
    filter->limited = true;
    return console_token(rest, token);
}

fault console_read_filter(const struct console_command *command, struct span rest,
                          struct console_filter *ret)
{
    struct console_token token;
    *ret = (struct console_filter){.any = true};
    TRY(console_token(&rest, &token));
    if (console_token_is(&token, "WHERE"))
        TRY(read_where(command, &rest, ret, &token));
    if (console_token_is(&token, "ORDER"))
        TRY(read_order(command, &rest, ret, &token));
    if (console_token_is(&token, "LIMIT"))
        TRY(read_limit(&rest, ret, &token));
    ret->any = ret->count > 0 || ret->ordered || ret->limited;
    return token.kind == TOKEN_END ? OK : unexpected(&token, "WHERE, ORDER BY, LIMIT or the end");
}

/* --- stored cells ----------------------------------------------------------------------------- */

struct cell {
    struct span text;
    bool null;
};

static struct cell cell_next(struct span *row)
{
    uint32_t size;
    memcpy(&size, row->at, sizeof(size));
    *row = span_skip(*row, sizeof(size));
    if (size == CELL_NULL)
        return (struct cell){.null = true};
    struct cell cell = {.text = span_of(row->at, size)};
    *row = span_skip(*row, size);
    return cell;
}

static struct cell cell_of(const struct console_sieve *sieve, size_t at, size_t column)
{
    struct span row = span_skip(buffer_span(&sieve->cells), at);
    struct cell cell = cell_next(&row);
    while (column-- > 0)
        cell = cell_next(&row);
    return cell;
}

static long double number_of(struct span text)
{
    char copy[64];
    size_t size = MIN_OF(text.size, sizeof(copy) - 1);
    if (size > 0)
        memcpy(copy, text.at, size);
    copy[size] = '\0';
    return strtold(copy, NULL);
}

static int compare(enum column_type type, struct span a, struct span b)
{
    if (is_number(type)) {
        long double x = number_of(a), y = number_of(b);
        return (x > y) - (x < y);
    }
    size_t size = MIN_OF(a.size, b.size);
    int order = size == 0 ? 0 : memcmp(a.at, b.at, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Matches LIKE: `%` stands for any bytes, `_` for one. */
static bool is_like(struct span text, const char *pattern)
{
    const char *again = NULL; /* behind the latest % */
    struct span from = SPAN_NONE;
    for (;;) {
        if (*pattern == '%') {
            again = ++pattern;
            from = text;
        } else if (text.size == 0) {
            return *pattern == '\0';
        } else if (*pattern == '_' || (*pattern != '\0' && (uint8_t)*pattern == text.at[0])) {
            pattern++;
            text = span_skip(text, 1);
        } else if (again != NULL) {
            pattern = again;
            from = text = span_skip(from, 1);
        } else {
            return false;
        }
    }
}

static bool condition_holds(const struct console_condition *condition, enum column_type type,
                            struct cell cell)
{
    if (condition->how == COMPARE_NULL || condition->how == COMPARE_NOT_NULL)
        return cell.null == (condition->how == COMPARE_NULL);
    if (cell.null)
        return false;
    if (condition->how == COMPARE_LIKE)
        return is_like(cell.text, condition->value);
    int order = compare(type, cell.text, span_text(condition->value));
    switch (condition->how) {
    case COMPARE_EQUAL:
        return order == 0;
    case COMPARE_OTHER:
        return order != 0;
    case COMPARE_LESS:
        return order < 0;
    case COMPARE_AT_MOST:
        return order <= 0;
    case COMPARE_GREATER:
        return order > 0;
    default:
        return order >= 0;
    }
}

/* --- the sieve -------------------------------------------------------------------------------- */

void console_sieve_init(struct console_sieve *sieve, const struct console_filter *filter)
{
    *sieve = (struct console_sieve){.filter = filter,
                                    .cells = BUFFER_INIT(CONSOLE_ROWS_MAX),
                                    .rows = BUFFER_INIT(CONSOLE_ROWS_MAX)};
}

void console_sieve_fini(struct console_sieve *sieve)
{
    buffer_fini(&sieve->cells);
    buffer_fini(&sieve->rows);
}

void console_sieve_cell(struct console_sieve *sieve, struct span text, bool null)
{
    uint32_t size = null ? CELL_NULL : (uint32_t)text.size;
    buffer_append(&sieve->cells, &size, sizeof(size));
    if (!null)
        buffer_append_span(&sieve->cells, text);
}

void console_sieve_row(struct console_sieve *sieve, const struct console_column *columns)
{
    const struct console_filter *filter = sieve->filter;
    bool full = filter->limited && !filter->ordered && sieve->count >= filter->limit;
    bool fits = sieve->cells.failed == OK && !full;
    for (size_t i = 0; fits && i < filter->count; i++) {
        const struct console_condition *condition = &filter->conditions[i];
        fits = condition_holds(condition, columns[condition->column].type,
                               cell_of(sieve, sieve->row_start, condition->column));
    }
    if (fits) {
        uint32_t start = (uint32_t)sieve->row_start;
        buffer_append(&sieve->rows, &start, sizeof(start));
        sieve->count += 1;
    } else if (sieve->cells.failed == OK) {
        sieve->cells.size = sieve->row_start;
    }
    sieve->row_start = sieve->cells.size;
}

/* NULL cells come last in either order. */
static bool row_goes_first(const struct console_sieve *sieve, enum column_type type, uint32_t a,
                           uint32_t b)
{
    const struct console_filter *filter = sieve->filter;
    struct cell x = cell_of(sieve, a, filter->order), y = cell_of(sieve, b, filter->order);
    if (x.null || y.null)
        return y.null;
    int order = compare(type, x.text, y.text);
    return filter->descending ? order >= 0 : order <= 0;
}

static void rest_now_and_then(uint32_t *done, uint32_t max)
{
    if (++*done % max == 0 && co_self() != NULL)
        co_yield ();
}

/* Merges runs of `width` in `from` into runs of twice that in `to`. */
static void merge_pass(const struct console_sieve *sieve, enum column_type type,
                       const uint32_t *from, uint32_t *to, size_t width)
{
    size_t count = sieve->count;
    uint32_t compared = 0;
    for (size_t start = 0; start < count; start += 2 * width) {
        size_t left = start, middle = MIN_OF(start + width, count), right = middle;
        size_t end = MIN_OF(start + 2 * width, count);
        for (size_t at = start; at < end; at++) {
            bool take_left = left < middle;
            if (take_left && right < end) {
                take_left = row_goes_first(sieve, type, from[left], from[right]);
                rest_now_and_then(&compared, COMPARED_AT_A_TIME);
            }
            to[at] = take_left ? from[left++] : from[right++];
        }
    }
}

/* Sorts by merging: stable, and its passes can suspend. */
static fault sieve_sort(struct console_sieve *sieve, enum column_type type)
{
    if (sieve->count < 2)
        return OK;
    uint32_t *other = malloc(sieve->count * sizeof(*other));
    uint32_t *rows = (uint32_t *)(void *)sieve->rows.at;
    if (other == NULL)
        return FAULT_MEMORY;
    uint32_t *from = rows, *to = other;
    for (size_t width = 1; width < sieve->count; width *= 2) {
        merge_pass(sieve, type, from, to, width);
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != rows)
        memcpy(rows, from, sieve->count * sizeof(*rows));
    free(other);
    return OK;
}

fault console_sieve_pour(struct console_sieve *sieve, const struct console_column *columns,
                         size_t column_count, struct table_sink *sink)
{
    const struct console_filter *filter = sieve->filter;
    uint32_t written = 0;
    fault failed = buffer_fault(&sieve->cells);
    if (failed == OK)
        failed = buffer_fault(&sieve->rows);
    if (failed == FAULT_LIMIT)
        return fault_raise(FAULT_LIMIT, "the rows to sort or filter exceed %zu MiB",
                           CONSOLE_ROWS_MAX >> 20);
    if (failed == OK && filter->ordered)
        failed = sieve_sort(sieve, columns[filter->order].type);
    TRY(failed);
    size_t count = filter->limited ? MIN_OF(sieve->count, filter->limit) : sieve->count;
    for (size_t i = 0; i < count; i++) {
        uint32_t start;
        memcpy(&start, sieve->rows.at + i * sizeof(start), sizeof(start));
        struct span row = span_skip(buffer_span(&sieve->cells), start);
        for (size_t j = 0; j < column_count; j++) {
            struct cell cell = cell_next(&row);
            sink->cell(sink, cell.text, cell.null);
        }
        table_end_row(sink);
        rest_now_and_then(&written, ROWS_AT_A_TIME);
    }
    return OK;
}
