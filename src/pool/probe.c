#include "pool/probe.h"

#include "link/link.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "machine/log.h"
#include "pool/live_service.h"
#include "pool/patroni_parts.h"

#include <stdlib.h>

/* Of one answer. */
#define PROBE_MESSAGE_MAX 4096u

/* The age from which on a probe's connection is replaced.  Its address may lead to another server
 * by then: new connections would show that, and this one does not. */
#define PROBE_CONNECTION_MAX sec(10)

/* The shortest pause between two probes of a backend. */
#define PROBE_PAUSE_MIN ms(10)

/* The shortest pause between two that were asked for: clients can ask as often as they like. */
#define PROBE_ASKED_PAUSE ms(200)

#define COLUMNS 7u

struct probes {
    struct live_service *live;
    struct list all;
    struct config *config; /* counted; NULL: there are no probes */
    const struct service_config *settings;
};

/* One backend's; its coroutine frees it. */
struct probe {
    struct node node;      /* in probes->all */
    struct probes *probes; /* NULL: given up */
    struct co *keeper;
    uint64_t backend; /* its id */
    struct address address;
    char *host;
    struct config *config; /* counted: the version that the connection was made by */
    struct stream streams[2];
    struct stream *stream; /* the one of these that is in use */
    moment reached;        /* when its connection was begun */
    moment tried;          /* when a connection was last begun */
    struct buffer message;
    moment hurried; /* when a probe that was asked for last became due */
    bool again;     /* asked to probe at once */
    bool failed;    /* the latest one; logged */
    bool claims;    /* the latest answer called the server primary */
    bool unruled;   /* Patroni's latest answer is missing; logged */
};

/* --- the answer ------------------------------------------------------------------------------- */

/* Reads one field; empty: NULL. */
static struct span row_field(struct wire_reader *in)
{
    uint32_t size = wire_get_u32(in);
    return size == UINT32_MAX ? SPAN_NONE : wire_get_bytes(in, size);
}

/* Reads a decimal number, which may be negative as a bigint; 0: not a number. */
static uint64_t field_number(struct span field)
{
    uint64_t value = 0;
    bool negative = field.size > 0 && field.at[0] == '-';
    for (size_t i = negative; i < field.size; i++) {
        if (i == 20 || field.at[i] < '0' || field.at[i] > '9')
            return 0;
        value = value * 10 + (uint64_t)(field.at[i] - '0');
    }
    return negative ? 0 - value : value;
}

fault probe_read(struct span body, struct backend_sample *ret)
{
    struct wire_reader in = wire_reader_over(body);
    struct span fields[COLUMNS];
    if (wire_get_u16(&in) != COLUMNS)
        return FAULT_PROTOCOL;
    for (size_t i = 0; i < COLUMNS; i++)
        fields[i] = row_field(&in);
    TRY(wire_done(&in));
    if (!span_is(fields[0], "t") && !span_is(fields[0], "f"))
        return FAULT_PROTOCOL;
    *ret = (struct backend_sample){
        .replica = span_is(fields[0], "t"),
        .read_only = span_is(fields[1], "on"),
        .system = field_number(fields[2]),
        .line = (uint32_t)field_number(fields[3]),
        .position = field_number(fields[4]),
        .instance = field_number(fields[5]),
        .inserted = field_number(fields[6]),
    };
    return OK;
}

static fault probe_error(struct span body)
{
    struct wire_error error;
    if (wire_read_error(body, &error) != OK)
        return fault_raise(FAULT_PROTOCOL, "an error that can't be read");
    return fault_raise(FAULT_UPSTREAM, "%.*s (%.*s)", SPAN_ARG(error.message),
                       SPAN_ARG(error.sqlstate));
}

/* Reads messages up to ReadyForQuery. */
static fault probe_answer(struct probe *probe, struct backend_sample *ret, deadline by)
{
    bool row = false;
    for (;;) {
        struct wire_frame frame;
        TRY(link_read_message(probe->stream, &probe->message, PROBE_MESSAGE_MAX, &frame, by));
        if (frame.type == WIRE_ERROR)
            return probe_error(frame.body);
        if (frame.type == WIRE_DATA_ROW && probe_read(frame.body, ret) != OK)
            return fault_raise(FAULT_PROTOCOL, "the row can't be read");
        row = row || frame.type == WIRE_DATA_ROW;
        if (frame.type == WIRE_READY)
            return row ? OK : fault_raise(FAULT_PROTOCOL, "no row");
    }
}

/* --- one probe -------------------------------------------------------------------------------- */

/* Sets the password: the probe's own, else what the auth file has. */
static void probe_secret(const struct config *config, const struct probe_config *settings,
                         struct link_secret *ret)
{
    const struct secret *stored = config_secret(config, span_text(settings->user));
    const char *text = settings->password;
    *ret = (struct link_secret){.have_keys = false};
    if (text == NULL && stored != NULL)
        text = stored->text;
    if (text == NULL)
        return;
    bool md5 = strlen(text) == MD5_TEXT - 1 && span_starts(span_text(text), SPAN("md5"));
    if (md5)
        memcpy(ret->md5, text, MD5_TEXT);
    else
        ret->password = span_text(text);
}

static fault probe_login(const struct probe *probe, const struct service_config *service,
                         struct stream *stream, deadline by)
{
    const struct config *config = probe->config;
    static const char parameters[] = "application_name\0trunkline probe";
    struct link_target target = {
        .address = probe->address,
        .host = probe->host,
        .tls_mode = service->tls.mode,
        .tls = service->tls.context,
        .tls_direct = service->tls.negotiation == TLS_NEGOTIATION_DIRECT,
        .binding = (enum link_binding)service->tls.binding,
        .socket = config->server_socket,
    };
    struct link_secret secret;
    probe_secret(config, &service->probe, &secret);
    struct link_login login = {
        .target = &target,
        .user = span_text(service->probe.user),
        .database = span_text(service->probe.database),
        .parameters = span_of((const uint8_t *)parameters, sizeof(parameters)),
        .version = service->protocol,
        .secret = &secret,
    };
    struct link_reported said;
    TRY(link_login(stream, &login, &said, by));
    buffer_fini(&said.parameters);
    return OK;
}

/* Makes a connection that replaces the present one.  If it fails, the present one stays. */
static fault probe_connect(struct probe *probe, const struct service_config *service, deadline by)
{
    struct stream *fresh = &probe->streams[probe->stream == probe->streams];
    probe->tried = now();
    fault made = probe_login(probe, service, fresh, by);
    if (made != OK) {
        stream_close(fresh);
        return made;
    }
    stream_close(probe->stream);
    probe->stream = fresh;
    probe->reached = probe->tried;
    return OK;
}

/* Whether new connections may lead to another server than this probe's: time has passed, or a pool
 * has made one. */
static bool probe_may_be_astray(const struct probe *probe)
{
    const struct backend *backend =
        service_backend(live_service_service(probe->probes->live), probe->backend);
    if (between(probe->tried, now()).us >= PROBE_CONNECTION_MAX.us)
        return true;
    return backend != NULL && backend_latest_login(backend).us > probe->tried.us;
}

static fault probe_ask(struct probe *probe, struct backend_sample *ret, deadline by)
{
    struct buffer out = BUFFER_INIT(PROBE_MESSAGE_MAX);
    moment asked = now();
    wire_put_query(&out, SPAN(PROBE_QUERY));
    fault result = link_send(probe->stream, &out, by);
    buffer_fini(&out);
    if (result == OK)
        result = probe_answer(probe, ret, by);
    if (result != OK) {
        stream_close(probe->stream);
        return result;
    }
    ret->reached = probe->reached;
    ret->asked = asked;
    ret->answered = now();
    return OK;
}

/* Takes the latest version of the configuration, for what follows.  A connection that was made by
 * another one is closed. */
static const struct service_config *probe_settings(struct probe *probe)
{
    if (probe->config != probe->probes->config)
        stream_close(probe->stream);
    config_ref(probe->probes->config);
    config_unref(&probe->config);
    probe->config = probe->probes->config;
    return probe->probes->settings;
}

/* Asks over the connection that there is; over a new one if that has been closed meanwhile, or the
 * configuration has changed. */
static fault probe_once(struct probe *probe, struct backend_sample *ret)
{
    const struct service_config *service = probe_settings(probe);
    deadline by = after(service->probe.timeout);
    if (stream_hung_up(probe->stream))
        stream_close(probe->stream);
    if (stream_open(probe->stream)) {
        fault asked = probe_ask(probe, ret, by);
        if (asked != FAULT_CLOSED)
            return asked;
    }
    TRY(probe_connect(probe, service, by));
    return probe_ask(probe, ret, by);
}

/* Whether the server gave no answer at all. */
static bool is_silence(fault why)
{
    return why == FAULT_REFUSED || why == FAULT_TIMEOUT || why == FAULT_CLOSED;
}

static void probe_report(struct probe *probe, fault result, const struct backend_sample *sample,
                         moment asked)
{
    char at[ADDRESS_TEXT_SIZE];
    if (result != OK && !probe->failed)
        log_event(LOG_WARNING, "probe.failed", log_text("service", probe->probes->settings->name),
                  log_text("backend", address_text(&probe->address, at, sizeof(at))),
                  log_quote("reason", fault_detail(result)));
    probe->failed = result != OK;
    probe->claims = result == OK && !sample->replica;
    live_service_sampled(probe->probes->live, probe->backend, result == OK ? sample : NULL, asked,
                         is_silence(result));
}

/* --- Patroni ---------------------------------------------------------------------------------- */

static void probe_report_ruling(struct probe *probe, fault result,
                                const struct backend_ruling *ruling)
{
    char at[ADDRESS_TEXT_SIZE];
    if (result != OK && !probe->unruled)
        log_event(LOG_WARNING, "patroni.failed", log_text("service", probe->probes->settings->name),
                  log_text("backend", address_text(&probe->address, at, sizeof(at))),
                  log_quote("reason", fault_detail(result)));
    probe->unruled = result != OK;
    live_service_ruled(probe->probes->live, probe->backend, result == OK ? ruling : NULL);
}

/* Asks Patroni about the role that the server has just said it has.  Faults: CANCELLED. */
static fault probe_consult(struct probe *probe, const struct backend_sample *sample)
{
    const struct service_config *service = probe_settings(probe);
    struct backend_ruling ruling = {0};
    if (!patroni_governs(&service->patroni, &probe->address))
        return OK;
    struct patroni_question question = {
        .about = sample->replica ? RULING_READS : RULING_PRIMARY,
        .server = probe->address,
        .host = probe->host,
        .settings = &service->patroni,
        .socket = probe->config->server_socket,
    };
    fault result = patroni_ask(&question, &ruling, after(service->patroni.timeout));
    if (probe->probes == NULL || result == FAULT_CANCELLED)
        return FAULT_CANCELLED;
    probe_report_ruling(probe, result, &ruling);
    return OK;
}

/* --- the coroutine ---------------------------------------------------------------------------- */

static void probe_free(struct probe *probe)
{
    stream_close(&probe->streams[0]);
    stream_close(&probe->streams[1]);
    buffer_fini(&probe->message);
    config_unref(&probe->config);
    free(probe->host);
    free(probe);
}

/* Takes the probe off the list; its coroutine, if it runs, frees it. */
static void probe_give_up(struct probe *probe)
{
    list_remove(&probe->probes->all, &probe->node);
    probe->probes = NULL;
    if (probe->keeper != NULL)
        co_cancel(probe->keeper);
}

/* Takes a request for a probe. */
static void probe_take_request(struct probe *probe)
{
    if (probe->again)
        probe->hurried = now();
    probe->again = false;
}

/* Waits until the next probe is due, or one is asked for.  A request that comes too early is kept,
 * since what it is about may be newer than the latest answer.  Faults: CANCELLED. */
static fault probe_rest(struct probe *probe, moment began)
{
    while (probe->probes != NULL) {
        deadline due = later(began, probe->probes->settings->probe.interval);
        deadline soonest = later(now(), PROBE_PAUSE_MIN);
        if (probe->again)
            due = earlier_of(due, later(probe->hurried, PROBE_ASKED_PAUSE));
        if (due.us < soonest.us) {
            probe_take_request(probe);
            return co_sleep(PROBE_PAUSE_MIN);
        }
        fault waited = co_wait(due);
        if (waited == FAULT_TIMEOUT) {
            probe_take_request(probe);
            return OK;
        }
        TRY(waited);
    }
    return OK;
}

/* Probes, and asks Patroni: before the report if the server has become primary, so that nothing is
 * decided without Patroni; else behind it, so that a slow Patroni delays no sample.  Faults:
 * CANCELLED. */
static fault probe_round(struct probe *probe, moment began)
{
    struct backend_sample sample = {0};
    fault result = probe_once(probe, &sample);
    if (probe->probes == NULL || result == FAULT_CANCELLED)
        return FAULT_CANCELLED;
    bool news = result == OK && !sample.replica && !probe->claims;
    if (news)
        TRY(probe_consult(probe, &sample));
    probe_report(probe, result, &sample, began);
    bool asks = result == OK && !news && probe->probes != NULL;
    return asks ? probe_consult(probe, &sample) : OK;
}

/* Asks again over a new connection if new ones may lead to another server.  It comes second, since
 * a login may take long.  A server that refuses or rejects it is asked over the old one from now
 * on. Faults: CANCELLED. */
static fault probe_go_again(struct probe *probe)
{
    const struct service_config *service = probe_settings(probe);
    moment began = now();
    if (!stream_open(probe->stream) || !probe_may_be_astray(probe))
        return OK;
    fault made = probe_connect(probe, service, after(service->probe.timeout));
    if (probe->probes == NULL || made == FAULT_CANCELLED)
        return FAULT_CANCELLED;
    if (made == OK)
        return probe_round(probe, began);
    if (made == FAULT_TIMEOUT)
        probe_report(probe, made, NULL, began);
    return OK;
}

static void probe_main(void *argument)
{
    struct probe *probe = argument;
    fault rested = OK;
    probe->keeper = co_self();
    while (probe->probes != NULL && rested != FAULT_CANCELLED) {
        moment began = now();
        rested = probe_round(probe, began);
        if (probe->probes != NULL && rested == OK)
            rested = probe_go_again(probe);
        if (probe->probes != NULL && rested == OK)
            rested = probe_rest(probe, began);
    }
    invariant(probe->probes == NULL);
    probe_free(probe);
}

/* --- the probes of a service ------------------------------------------------------------------ */

static void probes_start(struct probes *probes, const struct backend *backend)
{
    struct probe *probe = calloc(1, sizeof(*probe));
    if (probe == NULL)
        return; /* the next change of the service's backends tries again */
    probe->backend = backend_id(backend);
    probe->address = *backend_address(backend);
    probe->host = strdup(backend_host(backend));
    probe->streams[0] = probe->streams[1] = STREAM_INIT;
    probe->stream = probe->streams;
    probe->message = BUFFER_INIT(PROBE_MESSAGE_MAX);
    probe->probes = probes;
    if (probe->host == NULL || co_start(probe_main, probe, CO_LARGE) != OK)
        probe_free(probe);
    else
        list_push(&probes->all, &probe->node);
}

static struct probe *probes_find(const struct probes *probes, uint64_t backend)
{
    LIST_EACH (&probes->all, it)
        if (LIST_ENTRY(it, struct probe, node)->backend == backend)
            return LIST_ENTRY(it, struct probe, node);
    return NULL;
}

static bool service_has(const struct service *service, uint64_t id)
{
    struct backend *backend = NULL;
    while ((backend = service_next(service, backend)) != NULL)
        if (backend_id(backend) == id && !backend_obsolete(backend))
            return true;
    return false;
}

struct probes *probes_new(struct live_service *live)
{
    struct probes *probes = calloc(1, sizeof(*probes));
    if (probes == NULL)
        return NULL;
    probes->live = live;
    list_init(&probes->all);
    return probes;
}

void probes_free(struct probes **probes)
{
    struct probes *gone = TAKE(*probes);
    if (gone == NULL)
        return;
    LIST_EACH_SAFE (&gone->all, it)
        probe_give_up(LIST_ENTRY(it, struct probe, node));
    config_unref(&gone->config);
    free(gone);
}

void probes_follow(struct probes *probes, struct config *config,
                   const struct service_config *settings)
{
    const struct service *service = live_service_service(probes->live);
    bool any = settings->probe.user != NULL;
    config_ref(config);
    config_unref(&probes->config);
    probes->config = config;
    probes->settings = settings;
    LIST_EACH_SAFE (&probes->all, it) {
        struct probe *probe = LIST_ENTRY(it, struct probe, node);
        if (!any || !service_has(service, probe->backend))
            probe_give_up(probe);
    }
    struct backend *backend = NULL;
    while (any && (backend = service_next(service, backend)) != NULL)
        if (!backend_obsolete(backend) && probes_find(probes, backend_id(backend)) == NULL)
            probes_start(probes, backend);
}

void probes_ask(struct probes *probes, uint64_t backend)
{
    LIST_EACH (&probes->all, it) {
        struct probe *probe = LIST_ENTRY(it, struct probe, node);
        if (backend != 0 && probe->backend != backend)
            continue;
        probe->again = true;
        if (probe->keeper != NULL)
            co_wake(probe->keeper);
    }
}
