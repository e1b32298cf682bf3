#include "flight/l2_talk.h"

#define COMMAND_MAX 4096u

static fault read_reply(struct stream *stream, struct l2_reader *reader, struct l2_reply **ret,
                        deadline by)
{
    uint8_t bytes[512];
    size_t got;
    for (;;) {
        TRY(l2_reader_next(reader, ret));
        if (*ret != NULL)
            return OK;
        TRY(stream_read(stream, bytes, sizeof(bytes), &got, by));
        TRY(l2_reader_feed(reader, span_of(bytes, got)));
    }
}

fault l2_talk(struct stream *stream, struct l2_reader *reader, const struct span *words,
              uint32_t count, struct l2_reply **ret, deadline by)
{
    struct buffer out = BUFFER_INIT(COMMAND_MAX);
    struct l2_reply *reply = NULL;
    l2_command_put(&out, words, count);
    fault said = buffer_fault(&out);
    if (said == OK)
        said = stream_write(stream, buffer_span(&out), by);
    buffer_fini(&out);
    if (said == OK)
        said = read_reply(stream, reader, &reply, by);
    if (said == OK && reply->type == L2_REPLY_ERROR)
        said = fault_raise(FAULT_UPSTREAM, "%.*s says: %.*s", SPAN_ARG(words[0]),
                           SPAN_ARG(reply->text));
    if (said == OK && ret != NULL)
        *ret = TAKE(reply);
    l2_reply_free(&reply);
    return said;
}
