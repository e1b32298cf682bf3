#include "flight/l2_reply.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdlib.h>
#include <string.h>

/* Words of a command. */
#define WORDS_MAX 8u

struct l2_reader {
    redisReader *parser;
    size_t max;
    size_t unread; /* bytes of a reply that is not whole */
};

/* --- replies ---------------------------------------------------------------------------------- */

void l2_reply_free(struct l2_reply **reply)
{
    struct l2_reply *old = TAKE(*reply);
    if (old == NULL)
        return;
    for (uint32_t i = 0; i < old->count; i++)
        l2_reply_free(&old->items[i]);
    free(old);
}

static void free_object(void *object)
{
    struct l2_reply *reply = object;
    l2_reply_free(&reply);
}

/* Makes a reply, and puts it into the array that it is a part of. */
static void *new_object(const redisReadTask *task, enum l2_reply_type type, struct span text)
{
    struct l2_reply *reply = calloc(1, sizeof(*reply) + text.size);
    if (reply == NULL)
        return NULL;
    reply->type = type;
    if (text.size > 0)
        memcpy(reply + 1, text.at, text.size);
    reply->text = span_of(reply + 1, text.size);
    if (task->parent != NULL) {
        struct l2_reply *array = task->parent->obj;
        array->items[task->idx] = reply;
    }
    return reply;
}

static void *new_text(const redisReadTask *task, char *bytes, size_t size)
{
    enum l2_reply_type type = task->type == REDIS_REPLY_ERROR ? L2_REPLY_ERROR : L2_REPLY_TEXT;
    return new_object(task, type, span_of(bytes, size));
}

#if HIREDIS_MAJOR >= 1
typedef size_t array_size;
#else
typedef int array_size;
#endif

static void *new_array(const redisReadTask *task, array_size count)
{
    if (task->parent != NULL || count < 0 || (size_t)count > L2_ITEMS_MAX)
        return NULL; /* the reader fails */
    struct l2_reply *reply = new_object(task, L2_REPLY_ARRAY, SPAN_NONE);
    if (reply != NULL)
        reply->count = (uint32_t)count;
    return reply;
}

static void *new_number(const redisReadTask *task, long long number)
{
    struct l2_reply *reply = new_object(task, L2_REPLY_NUMBER, SPAN_NONE);
    if (reply != NULL)
        reply->number = number;
    return reply;
}

static void *new_none(const redisReadTask *task)
{
    return new_object(task, L2_REPLY_NONE, SPAN_NONE);
}

/* Types of protocol 3, which is never asked for, have no function: the reader fails. */
static redisReplyObjectFunctions makers = {
    .createString = new_text,
    .createArray = new_array,
    .createInteger = new_number,
    .createNil = new_none,
    .freeObject = free_object,
};

/* --- reading ---------------------------------------------------------------------------------- */

struct l2_reader *l2_reader_new(size_t max)
{
    struct l2_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->max = max;
    reader->parser = redisReaderCreateWithFunctions(&makers);
    if (reader->parser == NULL)
        l2_reader_free(&reader);
    return reader;
}

void l2_reader_free(struct l2_reader **reader)
{
    struct l2_reader *old = TAKE(*reader);
    if (old == NULL)
        return;
    if (old->parser != NULL)
        redisReaderFree(old->parser);
    free(old);
}

fault l2_reader_feed(struct l2_reader *reader, struct span bytes)
{
    if (bytes.size > reader->max - reader->unread)
        return fault_raise(FAULT_LIMIT, "a reply of more than %zu bytes", reader->max);
    reader->unread += bytes.size;
    if (redisReaderFeed(reader->parser, (const char *)bytes.at, bytes.size) != REDIS_OK)
        return fault_raise(FAULT_MEMORY, "no memory for a reply of %zu bytes", reader->unread);
    return OK;
}

fault l2_reader_next(struct l2_reader *reader, struct l2_reply **ret)
{
    void *reply = NULL;
    if (redisReaderGetReply(reader->parser, &reply) != REDIS_OK)
        return fault_raise(FAULT_PROTOCOL, "not a reply of Redis: %s", reader->parser->errstr);
    if (reply != NULL)
        reader->unread = reader->parser->len - reader->parser->pos;
    *ret = reply;
    return OK;
}

/* --- commands --------------------------------------------------------------------------------- */

void l2_command_put(struct buffer *out, const struct span *words, uint32_t count)
{
    const char *at[WORDS_MAX];
    size_t sizes[WORDS_MAX];
    char *command = NULL;
    invariant(count <= WORDS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        at[i] = (const char *)words[i].at;
        sizes[i] = words[i].size;
    }
    int size = redisFormatCommandArgv(&command, (int)count, at, sizes);
    if (size < 0) {
        out->failed = FAULT_MEMORY;
        return;
    }
    buffer_append(out, command, (size_t)size);
    redisFreeCommand(command);
}
