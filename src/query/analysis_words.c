/*
 * analysis_words.c - strings whose meaning changes with time when they are read as a date or time.
 *
 * PostgreSQL splits a date into words of letters and reads these four relative to the current time,
 * whatever surrounds them: 'today 12:00', 'NOW', '[today,tomorrow)'.  Other texts that have such a
 * word are no dates, and are judged alike.
 */
#include "query/analysis.h"

static bool is_letter(uint8_t c)
{
    uint8_t small = c | 0x20;
    return small >= 'a' && small <= 'z';
}

static bool is_relative(struct span word)
{
    switch (word.size) {
    case 3:
        return span_is_nocase(word, "now");
    case 5:
        return span_is_nocase(word, "today");
    case 8:
        return span_is_nocase(word, "tomorrow");
    case 9:
        return span_is_nocase(word, "yesterday");
    default:
        return false;
    }
}

bool query_is_time_word(struct span text)
{
    size_t begin = 0;
    for (size_t i = 0; i <= text.size; i++) {
        if (i < text.size && is_letter(text.at[i]))
            continue;
        if (is_relative(span_of(text.at + begin, i - begin)))
            return true;
        begin = i + 1;
    }
    return false;
}
