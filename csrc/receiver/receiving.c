#include "receiver/receiving_inner.h"

#include <stdlib.h>

#define BUFFER_SIZE (512u * 1024u)
#define STEP_LISTS 256             /* shown by one step of --list-only */
#define FRAMES_HELD (16u << 20)    /* bytes of extension frames kept while Python drains */

/* ---- messages --------------------------------------------------------------------------------- */

static int remote_exit(ps_receiving *p, const u8 *data, u32 len) {
    ps_reader r = rd_make(data, len);
    i32 code = len == 4 ? rd_i32(&r) : 0;
    if (len != 0 && len != 4) return message_bad(p->c, "receiver", PS_MSG_ERROR_EXIT, len);
    /* The remote has told its user's side why; it waits for this answer (io.c:read_a_msg). */
    if (p->c->o.protocol >= 31 || !len) mux_out_message(&p->out, PS_MSG_ERROR_EXIT, data, len);
    p->failed = true;
    p->c->error.told = !p->c->error.exit_code;
    return ps_fail(p->c, code > 0 && code < 256 ? code : 12, 0, "the remote ended the run with an error (code %d)", code);
}

static int keep_frame(ps_receiving *p, const u8 *data, u32 len) {
    if (!ctx_swarms(p->c)) return ps_fail(p->c, 12, 0, "unexpected tag %d [receiver]", PS_MSG_NOMINATE);
    /* Digest answers are columns: they never pass through Python. Before the nomination there is no swarm and none is legal. */
    if (p->swarm && len && data[0] == PS_FRAME_DIGESTS) return ps_swarm_digests(p->swarm, data + 1, len - 1);
    if (buf_used(&p->frames) > FRAMES_HELD) return ps_fail(p->c, 12, 0, "the remote sends more frames than it was asked for");
    if (!buf_u32(&p->frames, len) || !buf_put(&p->frames, data, len)) return ps_fail_memory(p->c, "the remote's frames");
    return PS_OK;
}

/* io.c:read_a_msg, as generator and receiver see it together. */
static int on_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_receiving *p = owner;
    int status = message_take(p->c, "receiver", code, data, len);
    if (status != PS_MESSAGE_OTHER) return status;
    switch (code) {
    case PS_MSG_NOMINATE: return keep_frame(p, data, len);
    case PS_MSG_ERROR_EXIT: return remote_exit(p, data, len);
    case PS_MSG_DELETED: return p->c->o.am_server ? PS_OK : render_deleted(p->c, data, len);
    default: break;
    }
    if (len != 4) return message_bad(p->c, "receiver", code, len);
    return code == PS_MSG_NO_SEND && p->gen ? gen_settled_by_sender(p->gen, message_int(data, len), PS_SETTLED_NO_SEND) : PS_OK;
}

/* Frames become events in the order in which they came, as there is room. */
static void offer_frames(ps_receiving *p) {
    while (buf_used(&p->frames) >= 4) {
        ps_reader r = rd_make(buf_head(&p->frames), buf_used(&p->frames));
        u32 n = rd_u32(&r);
        if (!ps_event_add(p->c, PS_EV_FRAME, 0, 0, 0, r.p, n)) return;
        buf_consume(&p->frames, 4 + (size_t)n);
    }
}

/* ---- the handle ------------------------------------------------------------------------------- */

ps_receiving *ps_receiving_new(ps_ctx *c, struct ps_rules *rules, const char *dest, size_t dest_len) {
    ps_receiving *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    p->c = c;
    p->rules = rules;
    mux_in_init(&p->in);
    mux_out_init(&p->out);
    p->in.plain = mux_input_is_plain(&c->o);
    p->out.plain = mux_output_is_plain(&c->o);
    p->out.overtakes = c->o.am_server && !p->out.plain;
    p->out.silent = c->o.read_batch;
    p->ndx_in = p->ndx_out = ndx_state_make();
    p->buffer = malloc(BUFFER_SIZE);
    p->all = flists_new(c);
    p->dest = dest ? strndup(dest, dest_len) : NULL;
    if (!dest && !c->o.list_only) ps_fail(c, 1, 0, "a transfer of files has no destination");
    if (!p->all || !p->buffer || (dest ? !p->dest : !c->o.list_only)) {
        ps_receiving_free(p);
        return NULL;
    }
    p->decoder = flist_decoder_new(c, p->all, rules);
    if (c->o.checksum && !c->o.list_only) p->sums_ahead = sums_ahead_new(c, p->all, p->dest);
    if (p->decoder && (p->sums_ahead || !c->o.checksum || c->o.list_only)) return p;
    ps_receiving_free(p);
    return NULL;
}

void ps_receiving_confine(ps_receiving *p, ps_root *module) {
    p->c->module = module;
    p->c->tames_links = p->c->o.am_daemon && !root_whole(module) && !p->c->o.munge_links;
    sums_ahead_free(p->sums_ahead); /* it looks for the destination before the module's rules are asked */
    p->sums_ahead = NULL;
}

void ps_receiving_free(ps_receiving *p) {
    if (!p) return;
    swarm_free(p->swarm);
    recv_free(p->recv);
    if (p->gen) gen_free(p->gen);
    sums_ahead_free(p->sums_ahead);
    if (p->decoder) flist_decoder_free(p->decoder);
    if (p->all) flists_free(p->all);
    root_free(p->root);
    mux_in_free(&p->in);
    mux_out_free(&p->out);
    buf_free(&p->frames);
    free(p->dest);
    free(p->buffer);
    free(p);
}

struct ps_flist_decoder *ps_receiving_decoder(ps_receiving *p) { return p->decoder; }

struct ps_swarm *ps_receiving_swarm(ps_receiving *p) {
    if (!p->swarm && p->gen && p->recv)
        p->swarm = swarm_new(&(ps_swarm_parts){p->c, p->all, p->gen, recv_outs(p->recv), p->root, &p->out});
    return p->swarm;
}

void ps_receiving_takes_over(ps_receiving *p, ps_local *l) { p->local = l; }
int ps_receiving_record(ps_receiving *p, int fd) {
    return recording_begin(&p->in.recording, fd) ? PS_OK : ps_fail_memory(p->c, "the batch file");
}

void ps_receiving_write_behind(ps_receiving *p) { p->behind = !ctx_swarms(p->c); }

bool ps_receiving_lists_complete(const ps_receiving *p) { return p->all->eof; }
uint64_t ps_receiving_entries(const ps_receiving *p) { return p->all->total_count; }

uint8_t *ps_receiving_buffer(ps_receiving *p, size_t *cap) {
    *cap = BUFFER_SIZE;
    return p->buffer;
}

/* cleanup.c: the remote hears of our failure, unless it is the connection that failed. */
static bool remote_should_know(i32 code) { return code && code != 10 && code != 12 && code != 19 && code != 30; }

static int failed(ps_receiving *p) {
    if (p->failed) return PS_FAIL;
    p->failed = true;
    ps_receiving_abort(p, 0); /* the remote hears of it after the reason: ps_receiving_abort is called again */
    return PS_FAIL;
}

void ps_receiving_abort(ps_receiving *p, int32_t exit_code) {
    if (p->recv) recv_abort(p->recv);
    if (p->c->o.protocol < 31 || p->stage == RECEIVING_OVER || !remote_should_know(exit_code)) return;
    u8 word[4];
    for (int i = 0; i < 4; i++) word[i] = (u8)((u32)exit_code >> (8 * i));
    mux_out_message(&p->out, PS_MSG_ERROR_EXIT, word, 4);
}

/* ---- the first lists -------------------------------------------------------------------------- */

static bool hidden(void *rules, const char *path, size_t len, bool is_dir) {
    return rules_check_daemon(rules, path, len, is_dir) < 0;
}

static int begin_run(ps_receiving *p) {
    if (!p->c->o.inc_recurse) p->all->eof = true;
    if (!p->all->total_count && !p->c->o.am_server) { /* main.c:client_run: nothing to do, no goodbye */
        p->nothing = p->done = true;
        p->stage = RECEIVING_OVER;
        return PS_OK;
    }
    if (!p->c->o.list_only) {
        if (receiving_destination(p->c, p->all, p->rules, p->dest, &p->root) != PS_OK) return PS_FAIL;
        const char *base = ps_str(p->c, PS_STR_CURR_DIR); /* absolute rules and merge files above the destination count from it */
        if (p->rules && base && rules_set_base(p->rules, base, strlen(base), p->c->module) != PS_OK) return PS_FAIL;
        if (p->c->module && p->rules && rules_any_daemon(p->rules)) {
            p->c->hides = hidden;
            p->c->hiding_rules = p->rules;
        }
        p->gen = gen_new(p->c, p->all, p->rules, p->root);
        if (!p->gen) return ps_fail_memory(p->c, "the generator");
        gen_use_sums_ahead(p->gen, p->sums_ahead);
    }
    p->recv = recv_new(p->c, p->all, p->gen, p->rules, p->root, p->decoder, &p->ndx_in);
    if (!p->recv) return PS_FAIL;
    if (p->behind) recv_write_behind(p->recv);
    if (p->local) recv_takes_over(p->recv, p->local);
    if (p->c->o.read_batch) recv_read_batch(p->recv, &p->out, &p->ndx_out);
    p->stage = RECEIVING_RUN;
    return PS_OK;
}

/* flist.c:recv_additional_file_list */
static int second_ndx(ps_receiving *p) {
    for (;;) {
        const u8 *data;
        size_t len;
        int status = mux_span(p->c, &p->in, &data, &len, on_message, p);
        if (status != PS_OK) return status;
        ps_reader r = rd_make(data, len);
        ps_ndx_state before = p->ndx_in;
        i32 ndx = rd_ndx(&r, &p->ndx_in, p->c->o.protocol);
        if (r.need) {
            p->ndx_in = before;
            status = mux_fill(p->c, &p->in, buf_used(&p->in.stage) ? 4 : len + 4, on_message, p);
            if (status != PS_OK) return status;
            continue;
        }
        mux_span_used(&p->in, (size_t)(r.p - data));
        if (ndx == PS_NDX_FLIST_EOF) {
            p->all->eof = true;
            return begin_run(p);
        }
        i32 parent = (i32)((u32)PS_NDX_FLIST_OFFSET - (u32)ndx);
        if (parent < 0 || (u32)parent >= p->all->dir_entry_count)
            return ps_fail(p->c, 2, 0, "[receiver] Invalid dir index: %d (%d - %d)", ndx, PS_NDX_FLIST_OFFSET,
                           PS_NDX_FLIST_OFFSET - (i32)p->all->dir_entry_count + 1);
        p->stage = RECEIVING_SECOND;
        return flist_decoder_begin(p->decoder, parent);
    }
}

static int take_list(ps_receiving *p) {
    int status = flist_decode(p->decoder, &p->in, on_message, p);
    if (status != PS_DONE) return status == PS_OK ? PS_AGAIN : status;
    if (p->stage == RECEIVING_FIRST && p->c->o.inc_recurse && p->all->total_count == 1) {
        p->stage = RECEIVING_SECOND_NDX;
        return PS_OK;
    }
    return begin_run(p);
}

/* ---- input ------------------------------------------------------------------------------------ */

int ps_receiving_feed_from(ps_receiving *p, const uint8_t *data, size_t len) {
    if (p->failed || p->c->error.exit_code) return failed(p);
    if (len) {
        p->c->stats.total_read += (i64)len;
        mux_in_feed(&p->in, data, len);
    }
    offer_frames(p);
    int status = PS_OK;
    while (status == PS_OK) {
        switch (p->stage) {
        case RECEIVING_BEGIN:
            p->stage = RECEIVING_FIRST;
            status = flist_decoder_begin(p->decoder, -1);
            break;
        case RECEIVING_FIRST:
        case RECEIVING_SECOND: status = take_list(p); break;
        case RECEIVING_SECOND_NDX: status = second_ndx(p); break;
        case RECEIVING_RUN: status = recv_step(p->recv, &p->in, on_message, p); break;
        case RECEIVING_OVER: status = PS_DONE; break;
        }
    }
    if (status == PS_FAIL || recording_check(p->c, &p->in.recording, status == PS_DONE) != PS_OK) return failed(p);
    if (status == PS_DONE) p->stage = RECEIVING_OVER;
    offer_frames(p);
    return buf_used(&p->frames) ? PS_FULL : status;
}

int ps_receiving_feed(ps_receiving *p, size_t len) { return ps_receiving_feed_from(p, p->buffer, len < BUFFER_SIZE ? len : BUFFER_SIZE); }

/* ---- the generator's side --------------------------------------------------------------------- */

static int put_done(ps_receiving *p) {
    ps_buf b = {0};
    bool ok = buf_ndx(&b, &p->ndx_out, p->c->o.protocol, PS_NDX_DONE) && mux_out_data(&p->out, b.data, b.len);
    buf_free(&b);
    return ok ? PS_OK : ps_fail_memory(p->c, "output for the remote");
}

/* Under inc_recurse a directory is shown when its own list begins. */
static bool shown_here(const ps_opts *o, const ps_file *f) {
    return file_active(f) && !(S_ISDIR(f->mode) && (o->inc_recurse || (!o->implied_dirs && f->flags & PS_F_IMPLIED_DIR)));
}

static int render_list(ps_receiving *p, const ps_flist *l) {
    const ps_opts *o = &p->c->o;
    if (o->inc_recurse && l->parent_ndx >= 0 && (u32)l->parent_ndx < p->all->dir_entry_count) {
        ps_file *dir = &p->all->dir_entries[l->parent_ndx].file;
        ps_flist own = {.files = dir, .count = 1, .names = p->all->dir_arena, .parent_ndx = -1};
        if ((o->implied_dirs || !(dir->flags & PS_F_IMPLIED_DIR)) && flist_render_listing(p->c, p->all, &own) != PS_OK) return PS_FAIL;
    }
    for (u32 from = 0, to; from < l->count; from = to) {
        to = from + 1;
        if (!shown_here(o, &l->files[from])) continue;
        while (to < l->count && shown_here(o, &l->files[to])) to++;
        ps_flist part = *l;
        part.files += from;
        part.count = to - from;
        if (flist_render_listing(p->c, p->all, &part) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

/* generator.c:generate_files where nothing is compared: every list is shown, and its end is told. */
static int list_step(ps_receiving *p) {
    if (p->list_phase == 0) {
        ps_flist *l = p->listed ? p->listed->next : p->all->first;
        if (!l && !p->all->eof) return PS_AGAIN;
        if (l) {
            if (render_list(p, l) != PS_OK) return PS_FAIL;
            /* The one before is through; the last one's end comes with the last. */
            if (p->listed && p->c->o.inc_recurse) {
                p->listed->done_sent = true;
                if (put_done(p) != PS_OK) return PS_FAIL;
            }
            p->listed = l;
            return buf_used(&p->c->log) > PS_SEND_HIGH_WATER ? PS_FULL : PS_OK;
        }
        p->list_phase = 1;
        if (p->listed) p->listed->done_sent = true;
        return put_done(p);
    }
    /* NDX_DONE of the redo and delay phases, of deletions from protocol 31 on, and the goodbye. */
    int total = last_phase(&p->c->o) + (p->c->o.protocol >= 31 ? 2 : 1);
    if (p->list_phase > total) return p->stage == RECEIVING_OVER ? PS_DONE : PS_AGAIN;
    p->list_phase++;
    return put_done(p);
}

/* Whether the generator waits for more than the remote. */
static bool swarm_works(const ps_receiving *p) {
    size_t queued = 0;
    if (p->gen) gen_jobs(p->gen, &queued);
    return p->swarm && (queued || ps_swarm_get_counts(p->swarm)->open);
}

int ps_receiving_step(ps_receiving *p) {
    if (p->failed || p->c->error.exit_code) return failed(p);
    if (p->done) return PS_DONE;
    if (p->stage != RECEIVING_RUN && p->stage != RECEIVING_OVER) return sums_ahead_step(p->sums_ahead, flist_decoder_list(p->decoder));
    if (mux_out_used(&p->out) >= PS_SEND_HIGH_WATER) return PS_FULL;
    if (ctx_swarms(p->c) && (!p->swarm || !ps_swarm_get_counts(p->swarm)->open)) recv_place_delayed(p->recv);
    int status = p->c->o.list_only ? PS_OK : gen_step(p->gen, &p->out, &p->ndx_out);
    for (int lists = 0; p->c->o.list_only && status == PS_OK && lists < STEP_LISTS; lists++) status = list_step(p);
    if (status == PS_FAIL) return failed(p);
    if (status == PS_DONE) p->done = true;
    if (status == PS_AGAIN && p->stage == RECEIVING_RUN) return sums_ahead_step(p->sums_ahead, flist_decoder_list(p->decoder));
    if (status == PS_AGAIN && p->stage == RECEIVING_OVER && !swarm_works(p)) {
        ps_fail(p->c, 12, 0, "the remote ended the session before all was done [receiver]");
        return failed(p);
    }
    return status;
}

int ps_receiving_settle(ps_receiving *p) {
    if (p->failed || p->c->error.exit_code) return failed(p);
    if (!p->recv || !recv_settle(p->recv)) return PS_AGAIN;
    return p->c->error.exit_code ? failed(p) : PS_OK;
}

/* ---- output ----------------------------------------------------------------------------------- */

const uint8_t *ps_receiving_out(ps_receiving *p, size_t *len) {
    return mux_out_span(&p->out, len);
}

void ps_receiving_sent(ps_receiving *p, size_t n) {
    p->c->stats.total_written += (i64)mux_out_sent(&p->out, n);
}

int ps_receiving_put(ps_receiving *p, const uint8_t *data, size_t n) {
    return mux_out_data(&p->out, data, n) ? PS_OK : ps_fail_memory(p->c, "output for the remote");
}

int ps_receiving_put_plain(ps_receiving *p, const uint8_t *data, size_t n) {
    mux_out_close_frame(&p->out);
    return buf_put(&p->out.out, data, n) ? PS_OK : ps_fail_memory(p->c, "output for the remote");
}

int ps_receiving_put_message(ps_receiving *p, uint32_t code, const uint8_t *data, size_t n) {
    return mux_out_message(&p->out, code, data, n) ? PS_OK : ps_fail_memory(p->c, "output for the remote");
}

/* Plain output has no messages: protocol 29 takes an item that is none, between two requests (generator.c writes whole ones). */
int ps_receiving_keep_alive(ps_receiving *p) {
    if (!p->out.plain) return ps_receiving_put_message(p, PS_MSG_DATA, NULL, 0);
    if (p->c->o.protocol != 29 || p->stage != RECEIVING_RUN || p->done) return PS_OK;
    ps_buf b = {0};
    bool ok = buf_ndx(&b, &p->ndx_out, p->c->o.protocol, (i32)p->all->last->count) && buf_u16(&b, PS_ITEM_IS_NEW) &&
              mux_out_data(&p->out, b.data, b.len);
    buf_free(&b);
    return ok ? PS_OK : ps_fail_memory(p->c, "output for the remote");
}
