/* model_copy.c - COPY in text form, in both directions. */
#include "model_inside.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_BYTES_MAX (64u << 20)
#define CHARACTER_MAX  4
#define BATCH_ROWS     1000 /* rows are inserted together, as the server does it */
#define BATCH_BYTES    65535

static void put_copy_begin(struct model_session *session, uint8_t type, uint32_t columns)
{
    size_t start = wire_begin(&session->out, type);
    wire_put_u8(&session->out, 0);
    wire_put_u16(&session->out, (uint16_t)columns);
    for (uint32_t i = 0; i < columns; i++)
        wire_put_u16(&session->out, 0);
    wire_end(&session->out, start);
}

/* --- out -------------------------------------------------------------------------------------- */

static void put_escaped(struct buffer *out, struct span text)
{
    static const char letters[] = "\bb\ff\nn\rr\tt\vv\\\\";
    for (size_t i = 0; i < text.size; i++) {
        const char *found = NULL;
        for (size_t j = 0; j + 1 < sizeof(letters) && found == NULL; j += 2)
            found = letters[j] == (char)text.at[i] ? &letters[j] : NULL;
        if (found != NULL) {
            wire_put_u8(out, '\\');
            wire_put_u8(out, (uint8_t)found[1]);
        } else {
            wire_put_u8(out, text.at[i]);
        }
    }
}

static fault sink_copy(struct model_sink *sink, const struct sql_stmt *stmt,
                       const struct sql_value *values)
{
    struct buffer *out = &sink->session->out;
    size_t start = wire_begin(out, WIRE_COPY_DATA);
    uint32_t column = 0;
    for (const struct sql_target *it = stmt->targets; it != NULL; it = it->next, column++) {
        if (column > 0)
            wire_put_u8(out, '\t');
        if (values[column].null)
            wire_put_bytes(out, SPAN("\\N"));
        else
            put_escaped(out, sql_value_text(&sink->portal->row, it->expr->type, &values[column]));
    }
    wire_put_u8(out, '\n');
    wire_end(out, start);
    return model_flush_much(sink->session);
}

/* COPY kv TO is COPY (select ... from kv) TO. */
static struct sql_stmt *query_of(struct sql_arena *arena, const struct sql_stmt *stmt)
{
    static const char *const names[] = {"k", "v"};
    struct sql_stmt *query = sql_take(arena, sizeof(*query));
    struct sql_target **last = &query->targets;
    *query = (struct sql_stmt){
        .kind = SQL_SELECT, .source = SQL_FROM_TABLE, .table = stmt->table, .alias = stmt->table};
    const struct sql_assignment *column = stmt->columns;
    for (uint32_t i = 0; i < 2 && (i == 0 || stmt->columns == NULL || column != NULL); i++) {
        uint32_t number = column == NULL ? i : column->number;
        *last = sql_take(arena, sizeof(**last));
        (*last)->expr = sql_take(arena, sizeof(*(*last)->expr));
        *(*last)->expr = (struct sql_expr){.kind = SQL_COLUMN,
                                           .number = number,
                                           .type = number == 0 ? SQL_INT4 : SQL_TEXT,
                                           .name = span_text(names[number])};
        last = &(*last)->next;
        column = column == NULL ? NULL : column->next;
    }
    return query;
}

static fault copy_out(struct model_session *session, struct model_portal *portal,
                      const struct sql_stmt *stmt, char tag[48])
{
    struct model_portal inner = {.params = portal->params};
    struct model_sink sink = {.row = sink_copy, .session = session, .portal = &inner};
    inner.stmt = stmt->inner != NULL ? stmt->inner : query_of(&portal->arena, stmt);
    if (inner.stmt->kind != SQL_SELECT)
        return model_raise(session, "0A000", "the model copies the rows of queries only");
    fault done = model_run_begin(session, &inner);
    if (done == OK) {
        put_copy_begin(session, WIRE_COPY_OUT, model_target_count(inner.stmt));
        done = model_run_rows(session, &inner, UINT64_MAX, &sink);
    }
    model_portal_fini(&inner);
    TRY(done);
    wire_put_empty(&session->out, WIRE_COPY_DONE);
    snprintf(tag, 48, "COPY %" PRIu64, sink.rows);
    return OK;
}

/* --- in --------------------------------------------------------------------------------------- */

/* What ends a line, as the first one has it. */
enum line_end { LINE_END_UNKNOWN, LINE_END_NL, LINE_END_CR, LINE_END_CRNL };

struct copy_in {
    struct model_session *session;
    const struct sql_stmt *stmt;
    struct model_table *table;
    uint32_t columns;
    struct buffer input; /* what has come and is in no row yet */
    size_t taken;        /* bytes of it that were rows */
    size_t good;         /* bytes of it that are characters */
    bool whole;          /* nothing more comes */
    bool ended;          /* a line said \. */
    enum line_end line_end;
    struct sql_arena arena;
    struct sql_value (*rows)[2];
    uint32_t count;
    size_t bytes;
    uint64_t total;
};

static fault copy_insert(struct copy_in *copy)
{
    for (uint32_t i = 0; i < copy->count; i++) {
        TRY(model_check(copy->session));
        TRY(model_table_insert(copy->session, copy->table, copy->rows[i], NULL));
    }
    copy->total += copy->count;
    copy->count = 0;
    copy->bytes = 0;
    sql_arena_reset(&copy->arena);
    return OK;
}

static int hex_of(uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = byte == 0 ? NULL : strchr(digits, byte | 0x20);
    return found == NULL ? -1 : (int)(found - digits);
}

/* \x41, \101 */
static size_t read_code(struct span text, uint8_t *ret)
{
    bool hex = text.at[0] == 'x' && text.size > 1 && hex_of(text.at[1]) >= 0;
    size_t size = hex ? 1 : 0;
    unsigned value = 0;
    for (size_t max = size + (hex ? 2 : 3); size < text.size && size < max; size++) {
        int digit = hex_of(text.at[size]);
        if (digit < 0 || (!hex && (digit > 7 || text.at[size] > '7')))
            break;
        value = value * (hex ? 16 : 8) + (unsigned)digit;
    }
    *ret = (uint8_t)value;
    return hex || size > 0 ? size : 0;
}

/* One field up to a tab, which goes; a \N alone is NULL. */
static struct span read_field(struct sql_arena *arena, struct span *rest, bool *null, bool *more)
{
    static const char letters[] = "b\bf\fn\nr\rt\tv\v";
    uint8_t *field = sql_take(arena, rest->size + 1);
    size_t size = 0, i = 0;
    for (; i < rest->size && rest->at[i] != '\t'; i++) {
        if (rest->at[i] != '\\') {
            field[size++] = rest->at[i];
            continue;
        }
        i += 1;
        if (i == rest->size) /* a backslash at the end is nothing */
            break;
        uint8_t byte = rest->at[i], code;
        size_t used = read_code(span_skip(*rest, i), &code);
        for (size_t j = 0; j + 1 < sizeof(letters); j += 2)
            if (letters[j] == (char)byte)
                byte = (uint8_t)letters[j + 1];
        field[size++] = used > 0 ? code : byte;
        i += used > 0 ? used - 1 : 0;
    }
    *null = i == 2 && rest->at[0] == '\\' && rest->at[1] == 'N';
    *more = i < rest->size;
    *rest = span_skip(*rest, i + 1);
    return span_of(field, size);
}

static fault copy_fields(struct copy_in *copy, struct span line, struct sql_value row[2])
{
    const struct sql_assignment *column = copy->stmt->columns;
    struct span fields[2] = {SPAN_NONE, SPAN_NONE};
    bool nulls[2] = {false, false}, more = true;
    uint32_t count = 0;
    for (; more; count++) {
        if (count == copy->columns)
            return model_raise(copy->session, "22P04", "extra data after last expected column");
        fields[count] = read_field(&copy->arena, &line, &nulls[count], &more);
        TRY(model_check_text(copy->session, fields[count]));
    }
    for (uint32_t i = 0; i < copy->columns; i++) {
        uint32_t into = column == NULL ? i : column->number;
        if (i >= count)
            return model_raise(copy->session, "22P04", "missing data for column \"%s\"",
                               into == 0 ? "k" : "v");
        row[into] = (struct sql_value){.null = true};
        if (!nulls[i])
            TRY(sql_value_read(copy->session, into == 0 ? SQL_INT4 : SQL_TEXT, fields[i],
                               &row[into]));
        column = column == NULL ? NULL : column->next;
    }
    return OK;
}

static fault copy_row(struct copy_in *copy, struct span line)
{
    struct sql_value row[2] = {{.null = true}, {.null = true}};
    TRY(copy_fields(copy, line, row));
    TRY(model_table_check(copy->session, copy->table, row));
    memcpy(copy->rows[copy->count++], row, sizeof(row));
    copy->bytes += line.size;
    if (copy->count < BATCH_ROWS && copy->bytes < BATCH_BYTES)
        return OK;
    return copy_insert(copy);
}

/* --- lines of it ------------------------------------------------------------------------------ */

/* Where reading stands within the line at hand. */
struct line {
    struct span text; /* all that is good, from its beginning */
    size_t at;
    size_t size; /* of what is a row */
    bool found;
};

/* The next byte; 0 when no more comes.  False: it has not come yet. */
static bool next_byte(const struct copy_in *copy, struct line *line, uint8_t *ret)
{
    if (line->at == line->text.size && !copy->whole)
        return false;
    *ret = line->at < line->text.size ? line->text.at[line->at] : 0;
    line->at += 1;
    return true;
}

static fault end_by_return(struct copy_in *copy, struct line *line)
{
    uint8_t byte;
    if (copy->line_end == LINE_END_NL)
        goto refuse;
    if (copy->line_end == LINE_END_CR) {
        line->found = true;
        return OK;
    }
    if (!next_byte(copy, line, &byte))
        return OK;
    line->found = true;
    if (byte == '\n') {
        copy->line_end = LINE_END_CRNL;
        return OK;
    }
    line->at -= 1;
    if (copy->line_end == LINE_END_CRNL)
        goto refuse;
    copy->line_end = LINE_END_CR;
    return OK;
refuse:
    (void)model_raise(copy->session, "22P04", "literal carriage return found in data");
    model_hint(copy->session, "Use \"\\r\" to represent carriage return.");
    return FAULT_UPSTREAM;
}

static fault end_by_newline(struct copy_in *copy, struct line *line)
{
    if (copy->line_end == LINE_END_CR || copy->line_end == LINE_END_CRNL) {
        (void)model_raise(copy->session, "22P04", "literal newline found in data");
        model_hint(copy->session, "Use \"\\n\" to represent newline.");
        return FAULT_UPSTREAM;
    }
    copy->line_end = LINE_END_NL;
    line->found = true;
    return OK;
}

/* What stands behind \. */
static fault end_by_mark(struct copy_in *copy, struct line *line)
{
    uint8_t byte;
    if (copy->line_end == LINE_END_CRNL) {
        if (!next_byte(copy, line, &byte))
            return OK;
        if (byte == '\n')
            goto mismatch;
        if (byte != '\r')
            goto corrupt;
    }
    if (!next_byte(copy, line, &byte))
        return OK;
    if (byte != '\r' && byte != '\n')
        goto corrupt;
    if (copy->line_end != LINE_END_UNKNOWN && (copy->line_end == LINE_END_CR) != (byte == '\r'))
        goto mismatch;
    line->found = copy->ended = true;
    return OK;
corrupt:
    return model_raise(copy->session, "22P04", "end-of-copy marker corrupt");
mismatch:
    return model_raise(copy->session, "22P04",
                       "end-of-copy marker does not match previous newline style");
}

/* Looks for the line's end, which may not have come yet.  What follows a backslash ends no line. */
static fault find_end(struct copy_in *copy, struct line *line)
{
    uint8_t byte = 0;
    while (line->at < line->text.size) {
        line->size = line->at;
        byte = line->text.at[line->at++];
        if (byte == '\n')
            return end_by_newline(copy, line);
        if (byte == '\r')
            return end_by_return(copy, line);
        if (byte != '\\' || line->at == line->text.size)
            continue;
        if (line->text.at[line->at++] == '.')
            return end_by_mark(copy, line);
    }
    line->size = line->at;
    return OK;
}

/* What has come anew is looked at from its first byte that is no character yet: a character may
 * come in pieces, so fewer bytes than the longest one has are no error. */
static fault verify(struct copy_in *copy)
{
    struct span rest = span_skip(buffer_span(&copy->input), copy->good);
    size_t more = model_text_good(rest);
    copy->good += more;
    if (more > 0 || rest.size == 0 || (!copy->whole && rest.size < CHARACTER_MAX))
        return OK;
    return model_check_text(copy->session, rest);
}

/* All lines that are there.  The server looks at what has come when it needs more of it. */
static fault copy_lines(struct copy_in *copy)
{
    for (size_t looked = SIZE_MAX; !copy->ended;) {
        struct span good = span_of(buffer_span(&copy->input).at, copy->good);
        struct line line = {.text = span_skip(good, copy->taken)};
        TRY(find_end(copy, &line));
        if (!line.found && looked == copy->good)
            return OK;
        if (!line.found) {
            looked = copy->good;
            TRY(verify(copy));
        } else if (copy->ended) {
            /* What stands before the mark is a line, once all has come. */
            copy->input.size = copy->good = copy->taken + line.size;
        } else {
            copy->taken += line.at;
            TRY(copy_row(copy, span_of(line.text.at, line.size)));
            TRY(model_check(copy->session));
        }
    }
    return OK;
}

static fault copy_data(struct copy_in *copy, struct span data)
{
    if (copy->ended)
        return OK;
    buffer_consume(&copy->input, copy->taken);
    copy->good -= copy->taken;
    copy->taken = 0;
    buffer_append_span(&copy->input, data);
    TRY(buffer_fault(&copy->input));
    return copy_lines(copy);
}

static fault copy_done(struct copy_in *copy)
{
    copy->whole = true;
    TRY(copy_lines(copy));
    struct span rest = span_skip(buffer_span(&copy->input), copy->taken);
    if (rest.size > 0) /* no newline ends it */
        TRY(copy_row(copy, rest));
    return copy_insert(copy);
}

/* --- its messages ----------------------------------------------------------------------------- */

static fault copy_failed(struct copy_in *copy, struct span body)
{
    struct wire_reader in = wire_reader_over(body);
    struct span why;
    TRY(model_get_string(copy->session, &in, &why));
    return model_raise(copy->session, "57014", "COPY from stdin failed: %.*s", SPAN_ARG(why));
}

static fault copy_messages(struct copy_in *copy)
{
    struct model_session *session = copy->session;
    TRY(model_check(session));
    for (;;) {
        struct wire_frame frame;
        TRY(model_read(session, true, &frame));
        switch (frame.type) {
        case WIRE_COPY_DATA:
            TRY(copy_data(copy, frame.body));
            break;
        case WIRE_COPY_DONE:
            return copy_done(copy);
        case WIRE_COPY_FAIL:
            return copy_failed(copy, frame.body);
        default: /* Flush and Sync are ignored; others do not come here */
            break;
        }
    }
}

static fault copy_in(struct model_session *session, const struct sql_stmt *stmt, char tag[48])
{
    struct copy_in copy = {
        .session = session, .stmt = stmt, .input = BUFFER_INIT(LINE_BYTES_MAX), .columns = 2};
    TRY(model_table_find(session, stmt->table, &copy.table));
    if (!copy.table->temporary)
        TRY(tx_must_write(session, "COPY FROM"));
    if (stmt->columns != NULL)
        copy.columns = stmt->columns->next == NULL ? 1 : 2;
    (void)model_snapshot(session);
    copy.rows = malloc(BATCH_ROWS * sizeof(*copy.rows));
    invariant(copy.rows != NULL);
    put_copy_begin(session, WIRE_COPY_IN, copy.columns);
    fault done = model_flush(session);
    if (done == OK)
        done = model_table_guard(session, copy.table);
    if (done == OK) /* it may be cancelled before it reads anything */
        done = model_dawdle(session);
    if (done == OK)
        done = copy_messages(&copy);
    snprintf(tag, 48, "COPY %" PRIu64, copy.total);
    sql_arena_fini(&copy.arena);
    buffer_fini(&copy.input);
    free(copy.rows);
    return done;
}

fault model_run_copy(struct model_session *session, struct model_portal *portal, char tag[48])
{
    struct sql_stmt stmt = *portal->stmt;
    TRY(sql_analyse_copy(session, &portal->arena, &stmt));
    return stmt.to_client ? copy_out(session, portal, &stmt, tag) : copy_in(session, &stmt, tag);
}
