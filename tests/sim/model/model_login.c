/* model_login.c - from a startup packet to the reported parameters: trust, SCRAM with one
 * iteration. */
#include "link/link.h"
#include "model_inside.h"

#include <stdio.h>

#define MECHANISM    "SCRAM-SHA-256"
#define LOGIN_WITHIN sec(60)

/* --- who -------------------------------------------------------------------------------------- */

static const struct model_user *find_user(const struct model *model, const char *name)
{
    for (size_t i = 0; i < model->options.user_count; i++)
        if (strcmp(model->options.users[i].name, name) == 0)
            return &model->options.users[i];
    return NULL;
}

static void make_verifier(struct model *model, const struct model_user *user, struct span name,
                          struct scram_verifier *ret)
{
    struct scram_keys keys;
    if (user != NULL && user->verifier != NULL) {
        invariant(scram_read_verifier(span_text(user->verifier), ret) == OK);
        return;
    }
    scram_mock_verifier(model->mock_secret, name, ret);
    ret->iterations = 1;
    if (user == NULL)
        return;
    scram_derive(span_text(user->password), ret->salt, ret->salt_size, 1, &keys);
    scram_verifier_of(&keys, ret);
}

static fault wrong_password(struct model_session *session)
{
    return model_raise_fatal(session, "28P01", "password authentication failed for user \"%s\"",
                             session->user);
}

static fault ask(struct model_session *session, uint32_t kind, struct span rest,
                 struct wire_frame *ret)
{
    wire_put_authentication(&session->out, kind, rest);
    TRY(model_flush(session));
    return model_read(session, true, ret);
}

static fault read_initial(struct model_session *session, struct span body, struct span *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct span mechanism = wire_get_string(&in);
    uint32_t size = wire_get_u32(&in);
    *ret = wire_get_bytes(&in, size);
    if (!in.failed && span_is(mechanism, MECHANISM))
        return OK;
    return model_raise_fatal(session, "08P01",
                             "client selected an invalid SASL authentication mechanism");
}

static fault prove(struct model_session *session, const struct model_user *user,
                   struct scram_server *scram, struct buffer *answer)
{
    struct scram_verifier verifier;
    struct wire_frame frame;
    struct span first;
    uint8_t random[SCRAM_NONCE];
    for (size_t i = 0; i < sizeof(random); i++)
        random[i] = (uint8_t)model_draw(session->model, 256);
    make_verifier(session->model, user, span_text(session->user), &verifier);
    TRY(ask(session, WIRE_AUTH_SASL, SPAN(MECHANISM "\0\0"), &frame));
    TRY(read_initial(session, frame.body, &first));
    if (scram_server_first(scram, first, &verifier, random, answer) != OK)
        return model_raise_fatal(session, "08P01", "malformed SCRAM message");
    TRY(ask(session, WIRE_AUTH_SASL_CONTINUE, buffer_span(answer), &frame));
    buffer_clear(answer);
    fault checked = scram_server_final(scram, frame.body, &verifier, answer);
    if (checked == FAULT_PASSWORD || (checked == OK && user == NULL))
        return wrong_password(session);
    if (checked != OK)
        return model_raise_fatal(session, "08P01", "malformed SCRAM message");
    wire_put_authentication(&session->out, WIRE_AUTH_SASL_FINAL, buffer_span(answer));
    return OK;
}

static fault prove_by_scram(struct model_session *session, const struct model_user *user)
{
    struct scram_server *scram = calloc(1, sizeof(*scram));
    struct buffer answer = BUFFER_INIT(SCRAM_MESSAGE_MAX * 2);
    invariant(scram != NULL);
    fault proven = prove(session, user, scram, &answer);
    buffer_fini(&answer);
    free(scram);
    return proven;
}

/* The password itself, or its md5. */
static fault prove_by_password(struct model_session *session, const struct model_user *user)
{
    char secret[MD5_TEXT], must[MD5_TEXT];
    uint8_t salt[4];
    struct wire_frame frame;
    bool md5 = user->method == MODEL_MD5;
    for (size_t i = 0; i < sizeof(salt); i++)
        salt[i] = (uint8_t)model_draw(session->model, 256);
    TRY(ask(session, md5 ? WIRE_AUTH_MD5 : WIRE_AUTH_PASSWORD,
            md5 ? span_of(salt, sizeof(salt)) : SPAN_NONE, &frame));
    struct wire_reader in = wire_reader_over(frame.body);
    struct span said = wire_get_string(&in);
    md5_secret(span_text(user->password), span_text(user->name), secret);
    md5_answer(secret, salt, must);
    return span_is(said, md5 ? must : user->password) ? OK : wrong_password(session);
}

static fault authenticate(struct model_session *session)
{
    const struct model_user *user = find_user(session->model, session->user);
    bool anybody = session->model->options.user_count == 0;
    if (user != NULL && user->method != MODEL_SCRAM)
        TRY(prove_by_password(session, user));
    else if (!anybody && (user == NULL || user->password != NULL || user->verifier != NULL))
        TRY(prove_by_scram(session, user));
    session->superuser = user != NULL && user->superuser;
    wire_put_authentication(&session->out, WIRE_AUTH_OK, SPAN_NONE);
    return OK;
}

/* --- the startup packet ----------------------------------------------------------------------- */

static fault read_replication(struct model_session *session, struct span value)
{
    if (value.at == NULL || wire_read_replication(value, &session->replication) == OK)
        return OK;
    (void)model_raise_fatal(
        session, "22023", "invalid value for parameter \"replication\": \"%.*s\"", SPAN_ARG(value));
    model_hint(session, "Valid values are: \"false\", 0, \"true\", 1, \"database\".");
    return FAULT_UPSTREAM;
}

static fault read_names(struct model_session *session, struct span parameters)
{
    struct span user = wire_find_parameter(parameters, "user");
    struct span database = wire_find_parameter(parameters, "database");
    if (user.size == 0)
        return model_raise_fatal(session, "28000",
                                 "no PostgreSQL user name specified in startup packet");
    TRY(read_replication(session, wire_find_parameter(parameters, "replication")));
    snprintf(session->user, sizeof(session->user), "%.*s", SPAN_ARG(user));
    snprintf(session->database, sizeof(session->database), "%.*s",
             SPAN_ARG(database.size > 0 ? database : user));
    return OK;
}

/* An older minor version than was asked for, and options that nobody knows. */
static void put_negotiate(struct model_session *session, const struct wire_startup *startup)
{
    struct span rest = startup->parameters, name, value;
    uint32_t unknown = 0;
    while (wire_next_parameter(&rest, &name, &value))
        unknown += span_starts(name, SPAN("_pq_."));
    if (startup->version <= WIRE_PROTOCOL_3_0 && unknown == 0)
        return;
    size_t start = wire_begin(&session->out, WIRE_NEGOTIATE);
    wire_put_u32(&session->out, WIRE_PROTOCOL_3_0);
    wire_put_u32(&session->out, unknown);
    for (rest = startup->parameters; wire_next_parameter(&rest, &name, &value);)
        if (span_starts(name, SPAN("_pq_.")))
            wire_put_string(&session->out, name);
    wire_end(&session->out, start);
}

static fault set_parameter(void *argument, struct span name, struct span value)
{
    fault set = model_guc_begin(argument, name, value);
    ((struct model_session *)argument)->error.fatal = set == FAULT_UPSTREAM;
    return set;
}

static fault set_parameters(struct model_session *session, struct span parameters)
{
    static const char *const others[] = {"user", "database", "options", "replication"};
    struct span options = wire_find_parameter(parameters, "options"), wrong = SPAN_NONE;
    struct span name, value;
    uint8_t scratch[WIRE_STARTUP_MAX];
    if (options.size > 0) {
        fault read = wire_read_options(options, scratch, set_parameter, session, &wrong);
        if (read == FAULT_PROTOCOL) {
            (void)model_raise_fatal(session, "42601",
                                    "invalid command-line argument for server process: %.*s",
                                    SPAN_ARG(wrong));
            model_hint(session, "Try \"postgres --help\" for more information.");
            return FAULT_UPSTREAM;
        }
        TRY(read);
    }
    while (wire_next_parameter(&parameters, &name, &value)) {
        bool other = span_starts(name, SPAN("_pq_."));
        for (size_t i = 0; i < ARRAY_SIZE(others); i++)
            other = other || span_is(name, others[i]);
        if (!other)
            TRY(set_parameter(session, name, value));
    }
    return OK;
}

/* --- whether we are open ---------------------------------------------------------------------- */

static fault refuse_state(struct model_session *session)
{
    static const char *const words[] = {
        [MODEL_STARTING] = "the database system is starting up",
        [MODEL_RECOVERING] = "the database system is in recovery mode",
        [MODEL_SHUTTING_DOWN] = "the database system is shutting down",
    };
    struct model *model = session->model;
    const struct model_faults *faults = &model->options.faults;
    if (model->state != MODEL_READY)
        return model_raise_fatal(session, "57P03", "%s", words[model->state]);
    if (model_chance(model, faults->refuse))
        return model_raise_fatal(session, "57P03", "%s", words[MODEL_STARTING]);
    if (model->sessions.count > model->options.connections_max ||
        model_chance(model, faults->crowded))
        return model_raise_fatal(session, "53300", "sorry, too many clients already");
    return OK;
}

static fault refuse_database(struct model_session *session)
{
    const struct model_options *options = &session->model->options;
    const struct model_user *user = find_user(session->model, session->user);
    if (options->user_count > 0 && user == NULL)
        return model_raise_fatal(session, "28000", "role \"%s\" does not exist", session->user);
    if (session->replication != WIRE_REPLICATION_NONE && user != NULL && !user->replication &&
        !user->superuser)
        return model_raise_fatal(session, "42501",
                                 "must be superuser or replication role to start walsender");
    if (session->replication == WIRE_REPLICATION_PHYSICAL)
        return OK;
    for (const char *const *it = options->databases; it != NULL; it++) {
        if (*it == NULL)
            return model_raise_fatal(session, "3D000", "database \"%s\" does not exist",
                                     session->database);
        if (strcmp(*it, session->database) == 0)
            break;
    }
    if (session->superuser || options->reserved == 0 ||
        session->model->sessions.count + options->reserved <= options->connections_max)
        return OK;
    return model_raise_fatal(session, "53300",
                             "remaining connection slots are reserved for non-replication "
                             "superuser connections");
}

static fault be_slow(struct model_session *session)
{
    struct model *model = session->model;
    if (!model_chance(model, model->options.faults.slow_login))
        return OK;
    const struct model_faults *faults = &model->options.faults;
    duration max = faults->slow_login_max.us > 0 ? faults->slow_login_max : faults->slow_max;
    return co_sleep((duration){.us = (int64_t)model_draw(model, (uint64_t)max.us + 1)});
}

static fault begin_session(struct model_session *session, const struct wire_startup *startup)
{
    uint8_t secret[4];
    put_negotiate(session, startup);
    TRY(read_names(session, startup->parameters));
    TRY(refuse_state(session));
    TRY(be_slow(session));
    TRY(authenticate(session));
    TRY(refuse_database(session));
    TRY(set_parameters(session, startup->parameters));
    wire_store_u32(secret, session->secret);
    model_gucs_report(session, true);
    wire_put_backend_key(&session->out, session->pid, span_of(secret, sizeof(secret)));
    return OK;
}

static fault read_startup(struct model_session *session, uint8_t *bytes, struct wire_startup *ret)
{
    struct model *model = session->model;
    const struct model_options *options = &model->options;
    bool is_impostor = model_chance(model, options->faults.impostor);
    struct tls_context *tls =
        is_impostor ? options->impostors[model_draw(model, options->impostor_count)] : options->tls;
    struct link_accept accept = {.tls = tls,
                                 .tls_mode = tls == NULL ? TLS_MODE_DISABLE : TLS_MODE_ALLOW};
    fault read = link_read_startup(&session->stream, &accept, bytes, ret, after(LOGIN_WITHIN));
    if (read == OK && is_impostor && options->watch.impostor_reached != NULL)
        options->watch.impostor_reached(options->watch.argument);
    if (read == FAULT_UNSUPPORTED)
        return model_raise_fatal(session, "0A000",
                                 "unsupported frontend protocol: server supports 3.0 to 3.0");
    return read == FAULT_UPSTREAM ? FAULT_CLOSED : read;
}

fault model_login(struct model_session *session)
{
    uint8_t bytes[WIRE_STARTUP_MAX];
    struct wire_startup startup;
    TRY(read_startup(session, bytes, &startup));
    if (startup.kind == WIRE_STARTUP_CANCEL) {
        model_cancel_request(session->model, &startup.cancel);
        return FAULT_CLOSED;
    }
    list_push(&session->model->sessions, &session->node);
    buffer_append_span(&session->in, startup.behind);
    return begin_session(session, &startup);
}
