#pragma once
/*
 * scan_parts.h - splits SQL into tokens, in a single pass.
 *
 * Knows what hides text from PostgreSQL's own scanner: comments (nested), strings of every kind and
 * their continuation on further lines, dollar quotes, quoted identifiers.  Accepts any bytes and
 * never fails: an unclosed comment or quote ends with the text.  Spans point into the text.
 * Nothing allocates.
 *
 * The meaning of some texts depends on settings that the text does not show.  Then `unsure` is set,
 * and the tokens from there on are one of the possible readings.
 */
#include "base/check.h"
#include "base/span.h"

enum query_token_kind {
    QUERY_TOKEN_END,
    QUERY_TOKEN_WORD,   /* an identifier or keyword as written, case not folded */
    QUERY_TOKEN_QUOTED, /* "an identifier", without its quotes */
    QUERY_TOKEN_STRING, /* 'text', without its quotes; escapes and continuations as written */
    QUERY_TOKEN_DOLLAR, /* $tag$text$tag$, without its quotes */
    QUERY_TOKEN_NUMBER, /* also $1 */
    QUERY_TOKEN_PUNCT,  /* any other byte */
};

struct query_token {
    enum query_token_kind kind;
    struct span text;
};

struct query_scan {
    const uint8_t *at;
    const uint8_t *end;
    bool unsure; /* standard_conforming_strings or client_encoding decides where a string ends, or a
                    name has escapes */
};

/** Starts at the beginning of `text`.  A NUL ends the text, as in a message. */
void query_scan_init(struct query_scan *scan, struct span text);
struct query_token query_scan_next(struct query_scan *scan);
