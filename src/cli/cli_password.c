#include "cli/cli_password_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_C 3

bool cli_password_line(struct password *ret)
{
    ret->size = 0;
    for (;;) {
        char byte;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || byte == CTRL_C || (got == 0 && ret->size == 0))
            return false;
        if (got == 0 || byte == '\n')
            break;
        if (ret->size == PASSWORD_MAX)
            return false;
        ret->text[ret->size++] = byte;
    }
    if (ret->size > 0 && ret->text[ret->size - 1] == '\r')
        ret->size -= 1;
    return true;
}

bool cli_password_prompt(const char *question, struct password *ret)
{
    struct termios before, silent;
    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return false;
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    /* Done before the question: discards what was typed until now, but no part of the answer. */
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0)
        return false;
    fputs(question, stderr);
    bool read = cli_password_line(ret);
    bool restored = tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) == 0;
    fputs("\n", stderr);
    return read && restored;
}

bool cli_password_ask(const char *question, char *ret, size_t size)
{
    struct password password = {.size = 0};
    bool asked = isatty(STDIN_FILENO) ? cli_password_prompt(question, &password)
                                      : cli_password_line(&password);
    bool kept = asked && password.size < size;
    if (kept) {
        memcpy(ret, password.text, password.size);
        ret[password.size] = '\0';
    }
    explicit_bzero(&password, sizeof(password));
    return kept;
}
