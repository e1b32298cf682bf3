#include "cli/cli.h"
#include "cli/cli_takeover.h"

#include "machine/ids.h"
#include "wire/scram.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* As in the auth file. */
#define USER_MAX     127
#define PASSWORD_MAX 1023
#define CTRL_C       3

struct password {
    size_t size;
    char text[PASSWORD_MAX]; /* not terminated */
};

/* Reads one line.  Returns false at the end of the input, for a line that is too long, and for
 * Ctrl-C. */
static bool line_read(struct password *ret)
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

/* Asks a question without echo.  Keyboard signals are off meanwhile, so that none leaves the
 * terminal without echo. */
static bool prompt(const char *question, struct password *ret)
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
    bool read = line_read(ret);
    bool restored = tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) == 0;
    fputs("\n", stderr);
    return read && restored;
}

/* Asks for the password.  Returns NULL, or an error message. */
static const char *password_ask(struct password *ret)
{
    struct password again;
    if (!isatty(STDIN_FILENO))
        return line_read(ret) ? NULL : "found no password of at most 1023 bytes";
    if (!prompt("Password: ", ret) || !prompt("Again: ", &again))
        return "found no password of at most 1023 bytes";
    bool same = ret->size == again.size && memcmp(ret->text, again.text, again.size) == 0;
    explicit_bzero(&again, sizeof(again));
    return same ? NULL : "the passwords do not match";
}

static bool user_sound(const char *user)
{
    size_t size = strlen(user);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)user[i] < ' ' || user[i] == 127)
            return false;
    return size > 0 && size <= USER_MAX;
}

static void line_print(const char *user, struct span secret)
{
    putchar('"');
    for (; *user != '\0'; user++) {
        if (*user == '"')
            putchar('"');
        putchar(*user);
    }
    printf("\" \"%.*s\"\n", SPAN_ARG(secret));
}

static void secret_print(const char *user, struct span password)
{
    uint8_t salt[SCRAM_SALT];
    struct scram_keys keys;
    struct scram_verifier verifier;
    char text[SCRAM_VERIFIER_MAX];
    random_bytes(salt, sizeof(salt));
    scram_derive(password, salt, sizeof(salt), SCRAM_ITERATIONS, &keys);
    scram_verifier_of(&keys, &verifier);
    scram_print_verifier(&verifier, text);
    explicit_bzero(&keys, sizeof(keys));
    line_print(user, span_text(text));
}

/* Prints the secret that the server has.  Its administrator may need no password. */
static int secret_take_over(char **arguments)
{
    struct password password = {.size = 0};
    bool asked = isatty(STDIN_FILENO) ? prompt("Password of the administrator: ", &password)
                                      : line_read(&password);
    struct buffer secret = BUFFER_INIT(4096);
    struct takeover takeover = {
        .user = arguments[0],
        .server = arguments[2],
        .admin = arguments[3],
        .password = span_of(password.text, asked ? password.size : 0),
    };
    fault taken = cli_take_over(&takeover, &secret);
    explicit_bzero(&password, sizeof(password));
    if (taken == OK)
        line_print(arguments[0], buffer_span(&secret));
    else
        fprintf(stderr, "trunkline secret: %s\n", fault_story(taken));
    buffer_fini(&secret);
    return taken == OK ? CLI_DONE : CLI_FAILED;
}

int cli_secret(char **arguments)
{
    struct password password = {.size = 0};
    if (!user_sound(arguments[0])) {
        fprintf(stderr,
                "trunkline secret: accepted: a user of 1 to %d bytes without control characters\n",
                USER_MAX);
        return CLI_FAILED;
    }
    if (arguments[1] != NULL)
        return secret_take_over(arguments);
    const char *problem = password_ask(&password);
    if (problem == NULL && password.size == 0)
        problem = "the password is empty";
    if (problem == NULL)
        secret_print(arguments[0], span_of(password.text, password.size));
    else
        fprintf(stderr, "trunkline secret: %s\n", problem);
    explicit_bzero(&password, sizeof(password));
    return problem == NULL ? CLI_DONE : CLI_FAILED;
}
