#include "sender/sender_inner.h"

#include <stdlib.h>
#include <unistd.h>

#define LOOKAHEAD_MIN 1000  /* rsync.h:MIN_FILECNT_LOOKAHEAD: entries ahead of the generator before it is served */
#define LOOKAHEAD_MAX 10000 /* rsync.h:MAX_FILECNT_LOOKAHEAD: while there is nothing else to do */
#define STEP_REQUESTS 256   /* requests served by one step */
#define STEP_ROUNDS 8       /* steps of a file that put out little */
#define NAMES_MULTIPLEXED 31 /* the first protocol in which forwarded names are data like any other */
#define LOG_HIGH_WATER (64u * 1024u)
#define OUTPUT_ROOM (128u * 1024u) /* from the start: growing to it, through the heap, would leave holes there */

ps_flists *send_lists(const ps_send *s) { return s->all; }
ps_mux_out *send_output(ps_send *s) { return &s->out; }

ps_send *ps_send_new(ps_ctx *c, ps_flists *all, ps_lister *lister, ps_rules *rules, ps_root *root) {
    ps_send *s = calloc(1, sizeof *s);
    if (!s) {
        ps_fail_memory(c, "the sender");
        return NULL;
    }
    s->ctx = ctx_hold(c);
    s->all = all;
    s->lister = lister;
    s->rules = rules;
    s->root = root;
    s->fd = -1;
    s->remote_exit = -1;
    s->ndx_in = s->ndx_out = ndx_state_make();
    mux_in_init(&s->in);
    mux_out_init(&s->out);
    s->in.plain = mux_input_is_plain(&c->o);
    s->out.plain = mux_output_is_plain(&c->o);
    s->out.overtakes = c->o.am_server && !s->out.plain;
    s->token = token_out_new(c);
    s->sum = sum_new();
    s->sums = sums_new();
    s->match = match_new();
    s->buffer = malloc(SEND_BUFFER);
    bool ok = s->token && s->sum && s->sums && s->match && s->buffer && buf_reserve(&s->out.out, OUTPUT_ROOM) &&
              block_hasher_init(&s->hasher, c->o.xfer_sum, c->o.checksum_seed, c->o.proper_seed_order != 0);
    const char *patterns = ps_str(c, PS_STR_DONT_COMPRESS);
    if (patterns && c->o.compress != PS_Z_NONE) ok = ok && (s->skip = token_skip_new(patterns));
    if (c->o.info_progress && !c->o.am_server) ok = ok && (s->progress = progress_new(c));
    if (ok) return s;
    ps_fail_memory(c, "the sender");
    ps_send_free(s);
    return NULL;
}

void ps_send_free(ps_send *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    mux_in_free(&s->in);
    mux_out_free(&s->out);
    buf_free(&s->frames);
    buf_free(&s->answers);
    buf_free(&s->scratch);
    buf_free(&s->name);
    progress_free(s->progress);
    token_out_free(s->token);
    token_skip_free(s->skip);
    sum_free(s->sum);
    sums_free(s->sums);
    match_free(s->match);
    block_hasher_free(&s->hasher);
    free(s->buffer);
    free(s->block);
    ps_ctx_free(s->ctx);
    free(s);
}

/* ---- bytes in and out ---- */

int ps_send_feed(ps_send *s, const uint8_t *data, size_t len) {
    if (!mux_in_drained(&s->in)) return PS_FULL;
    mux_in_feed(&s->in, data, len);
    s->ctx->stats.total_read += (i64)len;
    return PS_OK;
}

const uint8_t *ps_send_out(ps_send *s, size_t *len) {
    return mux_out_span(&s->out, len);
}

void ps_send_sent(ps_send *s, size_t n) {
    s->ctx->stats.total_written += (i64)mux_out_sent(&s->out, n);
}

int ps_send_put(ps_send *s, const uint8_t *data, size_t len) {
    return mux_out_data(&s->out, data, len) ? PS_OK : ps_fail_memory(s->ctx, "output");
}

int ps_send_names_follow(ps_send *s) {
    s->state = SEND_NAMES;
    if (s->ctx->o.protocol < NAMES_MULTIPLEXED) s->in.plain = true;
    return lister_files_from(s->lister, "", 0);
}

int ps_send_record(ps_send *s, int fd) {
    return recording_begin(&s->out.recording, fd) ? PS_OK : ps_fail_memory(s->ctx, "the batch file");
}

int ps_send_end_recording(ps_send *s) { return recording_check(s->ctx, &s->out.recording, true); }

int ps_send_message(ps_send *s, int code, const uint8_t *data, size_t len) {
    if (code < 0 || code > 255 - PS_MUX_BASE || len > PS_LIMIT_FRAME)
        return ps_fail(s->ctx, 13, 0, "no message %d of %zu bytes can be sent", code, len);
    return mux_out_message(&s->out, (u32)code, data, len) ? PS_OK : ps_fail_memory(s->ctx, "output");
}

const uint8_t *ps_send_frames(const ps_send *s, size_t *len) {
    *len = buf_used(&s->frames);
    return *len ? buf_head(&s->frames) : NULL;
}

void ps_send_frames_clear(ps_send *s) { buf_clear(&s->frames); }
int32_t ps_send_remote_exit(const ps_send *s) { return s->remote_exit; }
int32_t ps_send_phase(const ps_send *s) { return s->state >= SEND_GOODBYE ? PS_PHASE_OVER : s->phase; }

static int put_scratch(ps_send *s, bool ok) {
    return ok && mux_out_data(&s->out, buf_head(&s->scratch), buf_used(&s->scratch)) ? PS_OK : ps_fail_memory(s->ctx, "output");
}

static int put_ndx(ps_send *s, i32 ndx) {
    buf_clear(&s->scratch);
    return put_scratch(s, buf_ndx(&s->scratch, &s->ndx_out, s->ctx->o.protocol, ndx));
}

static int put_message_int(ps_send *s, u32 code, i32 value) {
    buf_clear(&s->scratch);
    bool ok = buf_i32(&s->scratch, value) && mux_out_message(&s->out, code, buf_head(&s->scratch), 4);
    return ok ? PS_OK : ps_fail_memory(s->ctx, "output");
}

int send_put_reply(ps_send *s) {
    const ps_request *q = &s->r;
    ps_buf *b = &s->scratch;
    buf_clear(b);
    bool ok = buf_ndx(b, &s->ndx_out, s->ctx->o.protocol, q->ndx);
    if (s->ctx->o.protocol < 29) return put_scratch(s, ok); /* the rest is implied */
    ok = ok && buf_u16(b, (u16)q->iflags);
    if (q->iflags & PS_ITEM_BASIS_TYPE_FOLLOWS) ok = ok && buf_u8(b, q->basis);
    if (q->iflags & PS_ITEM_XNAME_FOLLOWS) ok = ok && buf_vstring(b, q->xname, q->xname_len);
    return put_scratch(s, ok);
}

/* log.c:log_item for the entry at hand. */
void send_log(ps_send *s, int code) {
    i64 sent = (i64)(s->out.data_bytes - s->out_mark);
    render_item(s->ctx, code, s->all, s->r.list, s->r.file, s->r.iflags, NULL, sent, s->r.sum_bytes);
}

/* ---- requests ---- */

static void count_created(ps_stats *t, u32 mode) {
    t->created_files++;
    if (S_ISREG(mode)) return;
    if (S_ISDIR(mode))
        t->created_dirs++;
    else if (S_ISLNK(mode))
        t->created_symlinks++;
    else if (S_ISCHR(mode) || S_ISBLK(mode))
        t->created_devices++;
    else
        t->created_specials++;
}

static int serve_request(ps_send *s) {
    ps_request *q = &s->r;
    ps_stats *t = &s->ctx->stats;
    if (!(q->iflags & PS_ITEM_TRANSFER)) {
        const char *target = q->xname_len ? (const char *)q->xname : NULL;
        if (render_maybe_item(s->ctx, s->all, q->list, q->file, q->iflags, target) != PS_OK) return PS_FAIL;
        if (q->iflags & PS_ITEM_IS_NEW) count_created(t, q->file->mode);
        return send_put_reply(s);
    }
    if (s->phase == PS_PHASE_DELAYED) return ps_fail(s->ctx, 2, 0, "got transfer request in phase 2 [sender]");
    if (!(q->file->flags & PS_F_FILE_SENT) && (q->iflags & PS_ITEM_IS_NEW)) t->created_files++;
    if (s->progress) progress_file(s->progress, s->all, s->all->current, s->lists_gone, q->ndx);
    t->xferred_files++;
    t->total_transferred_size += q->file->size;
    if (!moves_data(&s->ctx->o)) {
        s->out_mark = s->out.data_bytes;
        q->sum_bytes = 0;
        send_log(s, PS_LOG_CLIENT);
        return send_put_reply(s);
    }
    s->state = SEND_SUMS;
    return PS_OK;
}

static int serve_sums(ps_send *s) {
    if (s->r.head.count && !s->r.append) {
        int status = send_read_sums(s);
        if (status != PS_OK) return status;
    }
    int status = send_file_open(s);
    return status == PS_OK && s->fd >= 0 ? send_file_begin(s) : status;
}

static void report_matches(ps_send *s) {
    const ps_match_counts *n = match_counts(s->match);
    if (s->ctx->o.verbose < 2) return;
    ps_log(s->ctx, PS_LOG_INFO, "total: matches=%lld  hash_hits=%lld  false_alarms=%lld data=%lld\n", (long long)n->matches,
           (long long)n->hash_hits, (long long)n->false_alarms, (long long)s->ctx->stats.literal_data);
}

/* main.c:handle_stats: a server tells its client what it has counted; a batch file has it too. */
static int end_transfer(ps_send *s) {
    const ps_opts *o = &s->ctx->o;
    const ps_stats *t = &s->ctx->stats;
    int status = PS_OK;
    report_matches(s);
    if (s->ctx->io_error != s->first_io_error && o->protocol >= 30) status = put_message_int(s, PS_MSG_IO_ERROR, s->ctx->io_error);
    if (status == PS_OK) status = put_ndx(s, PS_NDX_DONE);
    s->state = SEND_GOODBYE;
    s->phase = 0;
    if (status != PS_OK || !(o->am_server || recording_on(&s->out.recording))) return status;
    mux_out_close_frame(&s->out);
    i64 written = t->total_written + (i64)mux_out_used(&s->out);
    ps_buf *b = &s->scratch;
    buf_clear(b);
    bool ok = buf_varlong30(b, o->protocol, t->total_read, 3) && buf_varlong30(b, o->protocol, written, 3) &&
              buf_varlong30(b, o->protocol, t->total_size, 3);
    if (o->protocol >= 29)
        ok = ok && buf_varlong30(b, o->protocol, t->flist_buildtime_ms, 3) && buf_varlong30(b, o->protocol, t->flist_xfertime_ms, 3);
    s->out.aside = !o->am_server; /* whoever reads the batch is a client, and wants them */
    status = put_scratch(s, ok);
    s->out.aside = false;
    return status;
}

static void drop_first_list(ps_send *s) {
    if (s->all->current == s->all->first) s->all->current = s->all->first->next;
    flists_drop_first(s->all);
    s->lists_gone++;
}

/* NDX_DONE: a list is through (inc_recurse), or a phase is. */
static int serve_done(ps_send *s) {
    if (s->progress && s->all->current) progress_list_ended(s->progress, s->all, s->all->current, s->lists_gone);
    if (s->ctx->o.inc_recurse && s->all->first) {
        drop_first_list(s);
        if (s->all->first) return put_ndx(s, PS_NDX_DONE);
    }
    if (++s->phase > last_phase(&s->ctx->o)) return end_transfer(s);
    return put_ndx(s, PS_NDX_DONE);
}

/* main.c:read_final_goodbye: from protocol 31 the NDX_DONE is echoed and a last one follows. */
static int goodbye(ps_send *s) {
    bool done = false;
    int status = send_read_request(s, &done);
    if (status != PS_OK) return status;
    if (!done) return ps_fail(s->ctx, 2, 0, "Invalid packet at end of run (%d) [sender]", s->r.ndx);
    if (s->ctx->o.protocol >= 31 && s->phase++ == 0) return put_ndx(s, PS_NDX_DONE);
    s->state = SEND_END;
    return PS_OK;
}

/* ---- lists ---- */

static int more_lists(ps_send *s, i32 want) {
    int status = lister_more(s->lister, &s->out, &s->ndx_out, want);
    return status == PS_DONE ? PS_OK : status;
}

/* cleanup.c: what the run comes to when nothing went fatally wrong. */
static i32 soft_exit(const ps_ctx *c) {
    if ((c->io_error & PS_IOERR_GENERAL) || c->got_xfer_error) return 23;
    if (c->io_error & PS_IOERR_VANISHED) return 24;
    return c->io_error & PS_IOERR_DEL_LIMIT ? 25 : 0;
}

static int first_list(ps_send *s) {
    int status = lister_first(s->lister, &s->out);
    if (status != PS_OK) return status;
    s->first_io_error = s->ctx->io_error;
    s->state = SEND_REQUEST;
    if (!s->ctx->o.am_server || (s->all->first && s->all->first->count)) return PS_OK;
    /* main.c:do_server_sender: with nothing to send the client goes away by itself. */
    s->state = SEND_END;
    i32 code = soft_exit(s->ctx);
    return code && s->ctx->o.am_server && s->ctx->o.protocol >= 31 ? put_message_int(s, PS_MSG_ERROR_EXIT, code) : PS_OK;
}

static int read_names(ps_send *s) {
    int status = send_read_names(s);
    if (status != PS_OK) return status;
    s->in.plain = mux_input_is_plain(&s->ctx->o);
    s->state = SEND_LIST;
    return PS_OK;
}

/* ---- the pump ---- */

static int serve(ps_send *s) {
    bool done = false;
    if (s->ctx->o.inc_recurse && !s->all->eof) {
        int status = more_lists(s, LOOKAHEAD_MIN);
        if (status != PS_OK) return status;
    }
    int status = send_read_request(s, &done);
    if (status != PS_OK) return status;
    return done ? serve_done(s) : serve_request(s);
}

static int one_round(ps_send *s) {
    switch (s->state) {
    case SEND_NAMES:
        return read_names(s);
    case SEND_LIST:
        return first_list(s);
    case SEND_REQUEST:
        return serve(s);
    case SEND_SUMS:
        return serve_sums(s);
    case SEND_PREFIX:
    case SEND_WHOLE:
    case SEND_DELTA:
    case SEND_HAND_OVER:
        return send_file_step(s);
    case SEND_GOODBYE:
        return goodbye(s);
    case SEND_END:
        return PS_DONE;
    }
    return ps_fail(s->ctx, 12, 0, "the sender has lost its state");
}

int ps_send_step(ps_send *s) {
    if (s->ctx->error.exit_code || recording_check(s->ctx, &s->out.recording, false) != PS_OK) return PS_FAIL;
    int requests = 0, rounds = 0;
    while (requests < STEP_REQUESTS && rounds < STEP_ROUNDS) {
        if (__atomic_load_n(&s->ctx->cancelled, __ATOMIC_RELAXED)) return ps_fail(s->ctx, 20, 0, "the transfer was cancelled");
        if (buf_used(&s->frames) || buf_used(&s->ctx->log) >= LOG_HIGH_WATER) return PS_FULL;
        if (send_out_full(s) && s->state != SEND_END) return PS_FULL;
        ps_send_state before = s->state;
        int status = one_round(s);
        if (status == PS_AGAIN && s->state == SEND_REQUEST && s->ctx->o.inc_recurse && !s->all->eof) {
            /* While the generator is busy, lists go ahead of it. */
            i32 ahead = flists_ahead(s->all);
            if (ahead < LOOKAHEAD_MAX) status = more_lists(s, ahead + 1);
            if (status == PS_OK) return PS_OK;
        }
        if (status != PS_OK || log_for_client(s->ctx)) return status;
        if (before == SEND_LIST && s->state == SEND_REQUEST) return PS_FULL; /* the generator can begin */
        if (before == SEND_REQUEST || before == SEND_SUMS || before == SEND_GOODBYE)
            requests++;
        else if (s->state == before)
            rounds++;
    }
    return PS_OK;
}
