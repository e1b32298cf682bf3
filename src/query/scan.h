#pragma once
/*
 * scan.h - the tokens of a piece of SQL, one after another, in a single pass.
 *
 * Knows what hides text from PostgreSQL's own scanner: comments (nested), strings of every kind and
 * their continuation on further lines, dollar quotes, quoted identifiers.  It takes any bytes and
 * never fails: what is not closed ends with the text.  Spans point into the text.  Nothing
 * allocates.
 *
 * Some texts mean one thing or another by settings that the text does not tell.  There `unsure` is
 * set, and what the tokens are from there on is one of the readings.
 */
#include "base/span.h"

enum query_token_kind {
    QUERY_TOKEN_END,
    QUERY_TOKEN_WORD,   /* an identifier or keyword as it stands, case not folded */
    QUERY_TOKEN_QUOTED, /* "an identifier", without its quotes */
    QUERY_TOKEN_STRING, /* 'text', without its quotes, escapes and continuations as they stand */
    QUERY_TOKEN_DOLLAR, /* $tag$text$tag$, without its quotes */
    QUERY_TOKEN_NUMBER, /* also $1 */
    QUERY_TOKEN_PUNCT,  /* one byte of anything else */
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

/** A NUL ends the text, as it does on the wire. */
void query_scan_init(struct query_scan *scan, struct span text);
struct query_token query_scan_next(struct query_scan *scan);
