#include "core/context.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- context ----------------------------------------------------------------------------- */

ps_ctx *ps_ctx_new(void) { return calloc(1, sizeof(ps_ctx)); }

void ps_ctx_free(ps_ctx *c) {
    if (!c || c->holders--) return;
    buf_free(&c->log);
    buf_free(&c->events.text);
    for (int i = 0; i < PS_STR_COUNT; i++) free(c->strings[i]);
    for (u32 i = 0; i < c->alt_count; i++) free(c->alt_dirs[i]);
    free(c->chmod_ops);
    for (int i = 0; i < PS_OWNED_MAX; i++)
        if (c->owned[i].data) c->owned[i].free(c->owned[i].data);
    free(c);
}

int ps_ctx_set_string(ps_ctx *c, int which, const char *text, size_t len) {
    if (which < 0 || which >= PS_STR_COUNT) return ps_fail(c, 1, 0, "no string option %d", which);
    char *copy = strndup(text, len);
    if (!copy) return ps_fail_memory(c, "an option's value");
    free(c->strings[which]);
    c->strings[which] = copy;
    return PS_OK;
}

int ps_ctx_add_alt_dir(ps_ctx *c, const char *path, size_t len) {
    if (c->alt_count == PS_ALT_DIRS_MAX)
        return ps_fail(c, 1, 0, "at most %d alternate destination directories may be given", PS_ALT_DIRS_MAX);
    char *copy = strndup(path, len);
    if (!copy) return ps_fail_memory(c, "an option's value");
    c->alt_dirs[c->alt_count++] = copy;
    return PS_OK;
}

int ps_ctx_set_chmod(ps_ctx *c, const ps_chmod_op *ops, uint32_t count) {
    ps_chmod_op *copy = malloc((count + 1) * sizeof *copy);
    if (!copy) return ps_fail_memory(c, "chmod rules");
    if (count) memcpy(copy, ops, count * sizeof *copy);
    free(c->chmod_ops);
    c->chmod_ops = copy;
    c->chmod_count = count;
    return PS_OK;
}

ps_opts *ps_ctx_opts(ps_ctx *c) { return &c->o; }
const ps_error *ps_ctx_error(const ps_ctx *c) { return &c->error; }
ps_stats *ps_ctx_stats(ps_ctx *c) { return &c->stats; }
int32_t ps_ctx_io_error(const ps_ctx *c) { return c->io_error; }
void ps_ctx_add_io_error(ps_ctx *c, int32_t bits) { c->io_error |= bits; }
bool ps_ctx_got_xfer_error(const ps_ctx *c) { return c->got_xfer_error; }
void ps_ctx_note_xfer_error(ps_ctx *c) { c->got_xfer_error = true; }
void ps_ctx_go_classic(ps_ctx *c) { c->classic = true; }
void ps_cancel(ps_ctx *c) { __atomic_store_n(&c->cancelled, true, __ATOMIC_RELAXED); }

const uint8_t *ps_ctx_log(const ps_ctx *c, size_t *len) {
    *len = buf_used(&c->log);
    return buf_head(&c->log);
}

void ps_ctx_log_clear(ps_ctx *c) {
    buf_clear(&c->log);
    c->log_last = 0;
}

const ps_event *ps_ctx_events(const ps_ctx *c, uint32_t *count) {
    *count = c->events.count;
    return c->events.list;
}

const uint8_t *ps_ctx_event_text(const ps_ctx *c, size_t *len) {
    *len = buf_used(&c->events.text);
    return buf_head(&c->events.text);
}

void ps_ctx_events_clear(ps_ctx *c) {
    c->events.count = 0;
    buf_clear(&c->events.text);
}

bool ps_event_add(ps_ctx *c, i32 kind, i32 code, i64 a, i64 b, const void *text, size_t n) {
    if (ps_events_full(c)) return false;
    ps_event *e = &c->events.list[c->events.count];
    *e = (ps_event){kind, code, a, b, (u32)c->events.text.len, (u32)n};
    if (n && !buf_put(&c->events.text, text, n)) return false;
    c->events.count++;
    return true;
}

/* Opens a record of this code, or goes on with the last one where the code is the same and its line is complete (a progress
 * line is not). Where the text begins; 0: no memory. */
static size_t log_open(ps_ctx *c, int code) {
    ps_buf *b = &c->log;
    if (code == PS_LOG_ERROR_XFER) c->got_xfer_error = true;
    if (b->len && b->data[c->log_last] == (u8)code && b->data[b->len - 1] == '\n') return b->len;
    c->log_last = b->len;
    return buf_u8(b, (u8)code) && buf_u32(b, 0) ? b->len : 0;
}

static bool is_marked(const ps_buf *b, size_t from, size_t i) {
    return b->data[i] == '\n' || (b->data[i] == '\r' && i != from);
}

/* Marks the line ends within the message that begins at `from`. A remote's message may be full of them: one pass, from the end. */
static void log_mark(ps_buf *b, size_t from) {
    size_t marks = 0, end = b->len;
    for (size_t i = from; i + 1 < end; i++) marks += is_marked(b, from, i);
    if (PS_LIKELY(!marks) || !buf_reserve(b, marks)) return;
    b->len += marks;
    for (size_t i = end, to = b->len; i-- > from && marks;) {
        u8 c = b->data[i];
        if (i + 1 == end || !is_marked(b, from, i)) {
            b->data[--to] = c;
            continue;
        }
        b->data[--to] = c == '\n' ? 'n' : 'r';
        b->data[--to] = PS_LOG_MARK;
        marks--;
    }
}

static void log_close(ps_ctx *c, size_t from) {
    ps_buf *b = &c->log;
    if (b->failed) return;
    log_mark(b, from);
    u32 n = (u32)(b->len - c->log_last - 5);
    for (int i = 0; i < 4; i++) b->data[c->log_last + 1 + (size_t)i] = (u8)(n >> (8 * i));
}

void ps_log_bytes(ps_ctx *c, int code, const void *text, size_t n) {
    size_t from = log_open(c, code);
    if (from) buf_put(&c->log, text, n);
    log_close(c, from);
}

void ps_log(ps_ctx *c, int code, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    size_t from = log_open(c, code);
    if (from) buf_vprintf(&c->log, fmt, args);
    va_end(args);
    log_close(c, from);
}

void ps_log_errno(ps_ctx *c, int code, int err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    size_t from = log_open(c, code);
    if (from && buf_vprintf(&c->log, fmt, args)) buf_printf(&c->log, ": %s (%d)\n", strerror(err), err);
    va_end(args);
    log_close(c, from);
}

int ps_fail(ps_ctx *c, int exit_code, int err, const char *fmt, ...) {
    if (c->error.exit_code) return PS_FAIL;
    char raw[sizeof c->error.text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    /* One line whatever a remote's names hold: control characters as rsync shows them. */
    size_t at = 0;
    for (const char *p = raw; *p && at + 6 < sizeof c->error.text; p++) {
        if ((u8)*p >= 0x20 && *p != 0x7f)
            c->error.text[at++] = *p;
        else
            at += (size_t)snprintf(c->error.text + at, 6, "\\#%03o", (unsigned)(u8)*p);
    }
    c->error.text[at] = 0;
    c->error.exit_code = exit_code;
    c->error.sys_errno = err;
    return PS_FAIL;
}

int ps_fail_memory(ps_ctx *c, const char *what) { return ps_fail(c, 22, ENOMEM, "out of memory: %s", what); }

/* ---- threads ----------------------------------------------------------------------------- */

bool thread_start(pthread_t *id, void *(*run)(void *), void *argument) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool ok = pthread_create(id, NULL, run, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

bool thread_pays(void) { return sysconf(_SC_NPROCESSORS_ONLN) > 1; }
