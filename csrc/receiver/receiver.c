/* The receiver's records: requests that come back, sub-lists, phases, statistics, goodbye (receiver.c:recv_files,
 * rsync.c:read_ndx_and_attrs, main.c:handle_stats and read_final_goodbye), as a machine that takes any split of its input. */
#include "receiver/receiver_inner.h"

#include <stdlib.h>
#include <unistd.h>

#define WIRE_DEL_STAT_MAX (1 << 28)
#define INSIGNIFICANT (PS_ITEM_BASIS_TYPE_FOLLOWS | PS_ITEM_XNAME_FOLLOWS | PS_ITEM_LOCAL_CHANGE)

ps_recv *recv_new(ps_ctx *c, ps_flists *all, ps_gen *gen, ps_rules *rules, ps_root *dest, ps_flist_decoder *decoder,
                  ps_ndx_state *ndx) {
    ps_recv *r = calloc(1, sizeof *r);
    if (!r) {
        ps_fail_memory(c, "the receiver");
        return NULL;
    }
    r->c = c;
    r->all = all;
    r->gen = gen;
    r->rules = rules;
    r->root = dest;
    r->decoder = decoder;
    r->ndx_in = ndx;
    r->basis = r->taken.fd = -1;
    r->lists_left = all->list_count;
    r->current = all->first;
    r->new_modes.dir = r->visible_dir = UINT32_MAX;
    r->outs = outs_new(c, dest);
    if (r->outs && c->o.backup) outs_back_up(r->outs, gen_back_up_output, gen);
    r->tokens = token_in_new(c);
    r->sum = sum_new();
    r->progress = c->o.info_progress && !c->o.am_server ? progress_new(c) : NULL;
    r->gathered = r->own_room = malloc(PS_RECV_SMALL);
    if (!r->outs || !r->tokens || !r->sum || !r->own_room) {
        recv_free(r);
        ps_fail_memory(c, "the receiver");
        return NULL;
    }
    return r;
}

/* What the pool cannot put in place at the end of a session is not tried again. */
static void drop_handed_over(void *owner, ps_out *out, out_pool_data data, bool done) {
    (void)owner;
    if (data.from >= 0) close(data.from);
    if (done)
        out_give_back(out);
    else
        out_abort(out, false);
}

static void recv_drop_pool(ps_recv *r) {
    if (!r->pool) return;
    out_pool_collect(r->pool, true, drop_handed_over, r);
    out_pool_free(r->pool);
    r->pool = NULL;
    r->behind = false;
}

void recv_free(ps_recv *r) {
    if (!r) return;
    recv_file_drop(r);
    recv_drop_pool(r);
    if (r->outs) outs_free(r->outs);
    if (r->tokens) token_in_free(r->tokens);
    if (r->sum) sum_free(r->sum);
    progress_free(r->progress);
    free(r->own_room);
    free(r->window);
    free(r);
}

void recv_abort(ps_recv *r) {
    recv_file_drop(r);
    recv_drop_pool(r);
    r->out = NULL;
    outs_abort_all(r->outs);
    r->state = RECV_END;
}

ps_outs *recv_outs(ps_recv *r) { return r->outs; }

void recv_write_behind(ps_recv *r) { r->behind = true; }
void recv_takes_over(ps_recv *r, ps_local *l) { r->local = l; }

bool recv_settle(ps_recv *r) {
    if (!r->pool || !out_pool_under_way(r->pool)) return false;
    if (r->small && r->gathered != r->own_room && (r->state == RECV_TOKENS || r->state == RECV_SUM)) {
        /* Half a file has come: its batch goes now, and is filled anew before the rest is there. */
        memcpy(r->own_room, r->gathered, (size_t)r->offset);
        r->gathered = r->own_room;
    }
    recv_settle_some(r, true);
    return true;
}

/* ---- lines ------------------------------------------------------------------------------------ */

void recv_log_item(ps_recv *r, ps_mux_in *m, int code) {
    i64 bytes = r->iflags & PS_ITEM_TRANSFER ? (i64)(recv_data_read(m) - r->data_before) : 0;
    render_item(r->c, code, r->all, r->list, r->file, r->iflags, NULL, bytes, 0);
}

/* log.c:maybe_log_item */
static void item_line(ps_recv *r) {
    const ps_opts *o = &r->c->o;
    bool itemizing = o->am_server ? o->log_format_has_i : o->stdout_format_has_i;
    u32 significant = r->iflags & ~(u32)INSIGNIFICANT;
    bool see = itemizing && (significant || *r->xname || o->stdout_format_has_i > 1 || (o->info_name > 1 && o->stdout_format_has_i));
    bool local = r->iflags & PS_ITEM_LOCAL_CHANGE && significant;
    int code;
    if (o->am_server) {
        if (!render_has_format(r->c, PS_FORMAT_LOG) || o->dry_run || !see || !(significant || o->log_format_has_i)) return;
        code = PS_LOG_LOG;
    } else if (see || local || *r->xname || (S_ISDIR(r->file->mode) && significant)) {
        code = significant || o->log_format_has_i ? PS_LOG_INFO : PS_LOG_CLIENT;
    } else {
        return;
    }
    render_item(r->c, code, r->all, r->list, r->file, r->iflags, r->xname, 0, 0);
}

static void count_created(ps_recv *r) {
    ps_stats *s = &r->c->stats;
    u32 mode = r->file->mode;
    s->created_files++;
    if (S_ISREG(mode)) return;
    if (S_ISDIR(mode))
        s->created_dirs++;
    else if (S_ISLNK(mode))
        s->created_symlinks++;
    else if (S_ISCHR(mode) || S_ISBLK(mode))
        s->created_devices++;
    else
        s->created_specials++;
}

/* ---- records ---------------------------------------------------------------------------------- */

static int bad_index(ps_recv *r, i32 ndx) {
    i32 last = r->all->last ? r->all->last->ndx_start + (i32)r->all->last->count - 1 : -1;
    return ps_fail(r->c, 2, 0, "Invalid file index: %d (%d - %d) [receiver]", ndx, PS_NDX_DONE, last);
}

/* A list stands for the transfer's directories where an item's ndx is that of a list's own directory. */
static int find_entry(ps_recv *r, ps_flist *dirs) {
    ps_flist *list;
    ps_file *file = flists_file(r->all, r->ndx, &list);
    if (!file) {
        ps_flist *l = r->all->first;
        while (l && l->ndx_start - 1 != r->ndx) l = l->next;
        if (!l || l->answered || l->parent_ndx < 0 || (u32)l->parent_ndx >= r->all->dir_entry_count) return bad_index(r, r->ndx);
        r->current = l;
        *dirs = (ps_flist){.names = r->all->dir_arena, .ndx_start = r->ndx, .parent_ndx = -1, .count = 1};
        list = dirs;
        file = &r->all->dir_entries[l->parent_ndx].file;
    } else {
        if (list->answered) return bad_index(r, r->ndx); /* it may go at any time */
        r->current = list;
    }
    if (!file_active(file)) return ps_fail(r->c, 2, 0, "refusing transfer of cleared file index %d", r->ndx);
    r->list = list;
    r->file = file;
    return PS_OK;
}

static int entry_path(ps_recv *r) {
    const char *local = ps_str(r->c, PS_STR_LOCAL_NAME);
    size_t n = local ? strlen(local) : file_path(r->all, r->list, r->file, r->path);
    if (local) memcpy(r->path, local, n + 1);
    if (!r->c->o.am_daemon || !r->rules || strcmp(r->path, ".") == 0) return PS_OK;
    /* The generator asks for nothing below an excluded directory, but a client may send what nobody has asked for. */
    bool below = r->visible_dir != r->file->dir && rules_path_excluded(r->rules, r->path, n, true);
    if (!below) r->visible_dir = r->file->dir;
    if (!below && rules_check_daemon(r->rules, r->path, n, S_ISDIR(r->file->mode)) >= 0) return PS_OK;
    return ps_fail(r->c, 2, 0, "rejecting file transfer request for daemon excluded file: %s", r->path);
}

static int begin_transfer(ps_recv *r, ps_mux_in *m) {
    ps_ctx *c = r->c;
    if (!S_ISREG(r->file->mode)) return ps_fail(c, 2, 0, "received request to transfer non-regular file: %d [receiver]", r->ndx);
    if (r->phase == PS_PHASE_DELAYED) return ps_fail(c, 2, 0, "got transfer request in phase 2 [receiver]");
    if (gen_in_swarm(r->file)) return ps_fail(c, 2, 0, "the sender sends file %d, which it was not asked for [receiver]", r->ndx);
    r->redoing = r->file->flags & (c->o.read_batch ? PS_F_REDO | PS_F_BATCHED : PS_F_REDO);
    if (!r->redoing && r->iflags & PS_ITEM_IS_NEW) c->stats.created_files++;
    if (r->progress) progress_file(r->progress, r->all, r->current, r->lists_gone, r->ndx);
    c->stats.xferred_files++;
    c->stats.total_transferred_size += r->file->size;
    r->data_before = recv_data_read(m);
    if (c->o.read_batch) {
        r->state = RECV_WANTED;
        return PS_OK;
    }
    r->skipped = c->o.dry_run;
    if (c->o.dry_run) recv_log_item(r, m, PS_LOG_CLIENT);
    /* --only-write-batch: the data is recorded on the client's side, and does not come to a server. */
    if (moves_data(&c->o) && !(c->o.only_write_batch && c->o.am_server)) r->state = RECV_HEAD;
    return c->o.only_write_batch && c->o.inc_recurse ? gen_settled_by_sender(r->gen, r->ndx, PS_SETTLED_OK) : PS_OK;
}

static int take_item(ps_recv *r, ps_mux_in *m) {
    ps_flist dirs;
    if (find_entry(r, &dirs) != PS_OK || entry_path(r) != PS_OK) return PS_FAIL;
    if (r->iflags & PS_ITEM_TRANSFER) return r->list == &dirs ? bad_index(r, r->ndx) : begin_transfer(r, m);
    item_line(r);
    if (r->iflags & PS_ITEM_IS_NEW) count_created(r);
    return PS_OK;
}

static void delayed_done(void *owner, i32 ndx, bool ok) {
    ps_recv *r = owner;
    /* rsync's receiver says nothing of a failure; what came from the swarm is waited for all the same. */
    if (r->gen && (ok || ctx_swarms(r->c))) gen_settled(r->gen, ndx, ok ? PS_SETTLED_OK : PS_SETTLED_FAILED);
}

void recv_place_delayed(ps_recv *r) {
    if (r->delayed_due) outs_finish_delayed(r->outs, delayed_done, r);
}

static int list_ended(ps_recv *r) {
    const ps_flist *first = r->all->first;
    while (first && first->answered) first = first->next;
    if (first && r->current == first) r->current = first->next;
    r->lists_left--;
    r->lists_gone++;
    if (r->gen) return gen_first_list_done(r->gen);
    if (!r->all->first || !r->all->first->done_sent) return ps_fail(r->c, 2, 0, "the sender ends a list that is not through [receiver]");
    flists_drop_first(r->all);
    return PS_OK;
}

static int phase_ended(ps_recv *r) {
    if (r->progress && r->current) progress_list_ended(r->progress, r->all, r->current, r->lists_gone);
    if (r->c->o.inc_recurse && r->lists_left) {
        if (list_ended(r) != PS_OK) return PS_FAIL;
        if (r->lists_left) return PS_OK;
    }
    recv_settle(r); /* directory times and late deletions follow */
    if (r->c->error.exit_code) return PS_FAIL;
    if (++r->phase == PS_PHASE_DELAYED && r->c->o.delay_updates) { /* the last one before protocol 29 ends with them */
        r->delayed_due = true;
        if (!ctx_swarms(r->c)) recv_place_delayed(r);
    }
    if (r->phase > last_phase(&r->c->o)) {
        r->state = RECV_STATS;
        return PS_OK;
    }
    if (r->gen) gen_phase_ended(r->gen);
    return PS_OK;
}

static int begin_list(ps_recv *r, i32 ndx) {
    i32 parent = (i32)((u32)PS_NDX_FLIST_OFFSET - (u32)ndx);
    if (!r->c->o.inc_recurse) return bad_index(r, ndx);
    if (ndx == PS_NDX_FLIST_EOF) {
        r->all->eof = true;
        return PS_OK;
    }
    if (parent < 0 || (u32)parent >= r->all->dir_entry_count)
        return ps_fail(r->c, 2, 0, "Invalid dir index: %d (%d - %d) [receiver]", ndx, PS_NDX_FLIST_OFFSET,
                       PS_NDX_FLIST_OFFSET - (i32)r->all->dir_entry_count + 1);
    if (flist_decoder_begin(r->decoder, parent) == PS_FAIL) return PS_FAIL;
    r->state = RECV_LIST;
    return PS_OK;
}

static void read_del_stats(ps_recv *r, ps_reader *in) {
    i32 n[5];
    for (int i = 0; i < 5; i++) {
        n[i] = rd_varint(in);
        if (n[i] < 0 || n[i] > WIRE_DEL_STAT_MAX) in->bad = true;
    }
    if (!rd_ok(in) || r->c->o.read_batch) return; /* a batch has what was deleted where it was made */
    ps_stats *s = &r->c->stats;
    s->deleted_files = n[0] + n[1] + n[2] + n[3] + n[4];
    s->deleted_dirs = n[1];
    s->deleted_symlinks = n[2];
    s->deleted_devices = n[3];
    s->deleted_specials = n[4];
}

/* Reads one record's head from a span. What it means is done by the caller once all of it is there. */
static void read_record(ps_recv *r, ps_reader *in) {
    r->ndx = rd_ndx(in, r->ndx_in, r->c->o.protocol);
    r->iflags = 0;
    if (in->need) return;
    if (r->ndx == PS_NDX_DEL_STATS && r->c->o.protocol >= 31) {
        read_del_stats(r, in);
        return;
    }
    if (r->ndx < 0) return;
    r->iflags = r->c->o.protocol >= 29 ? rd_u16(in) : PS_ITEM_TRANSFER | PS_ITEM_MISSING_DATA;
    r->basis_type = r->iflags & PS_ITEM_BASIS_TYPE_FOLLOWS ? rd_u8(in) : PS_BASIS_FNAME;
    size_t n = 0;
    const u8 *name = r->iflags & PS_ITEM_XNAME_FOLLOWS ? rd_vstring(in, PS_LIMIT_VSTRING, &n) : NULL;
    if (name) memcpy(r->xname, name, n);
    r->xname[n] = 0;
}

static void read_head(ps_recv *r, ps_reader *in) {
    ps_sum_head *h = &r->head;
    h->count = rd_i32(in);
    h->block_length = rd_i32(in);
    h->strong_length = rd_i32(in);
    h->remainder = rd_i32(in);
}

/* io.c:read_sum_head */
static int check_head(ps_recv *r) {
    const ps_sum_head *h = &r->head;
    if (h->count < 0 || h->count > PS_LIMIT_BLOCKS) return ps_fail(r->c, 2, 0, "Invalid checksum count %d [receiver]", h->count);
    if (h->block_length < 0 || h->block_length > block_length_limit(r->c->o.protocol))
        return ps_fail(r->c, 2, 0, "Invalid block length %d [receiver]", h->block_length);
    if (h->count && !h->block_length) return ps_fail(r->c, 2, 0, "Invalid zero block length [receiver]");
    if (h->strong_length < 0 || h->strong_length > (i32)sum_length(r->c->o.xfer_sum))
        return ps_fail(r->c, 2, 0, "Invalid checksum length %d [receiver]", h->strong_length);
    if (h->remainder < 0 || h->remainder > h->block_length)
        return ps_fail(r->c, 2, 0, "Invalid remainder length %d [receiver]", h->remainder);
    return PS_OK;
}

static void read_stats(ps_recv *r, ps_reader *in) {
    if (r->c->o.am_server) return;
    int protocol = r->c->o.protocol;
    i64 v[5] = {0};
    for (int i = 0; i < (protocol >= 29 ? 5 : 3); i++) v[i] = rd_varlong30(in, protocol, 3);
    if (!rd_ok(in)) return;
    ps_stats *s = &r->c->stats;
    s->total_written = v[0]; /* the sender's words: what it read, we wrote */
    s->total_read = v[1];
    s->total_size = v[2];
    s->flist_buildtime_ms = v[3];
    s->flist_xfertime_ms = v[4];
}

static int take_record(ps_recv *r, ps_mux_in *m) {
    if (is_old_keep_alive(&r->c->o, r->all, r->ndx, r->iflags)) return PS_OK;
    if (r->ndx >= 0) {
        if (r->state != RECV_GOODBYE) return take_item(r, m);
    } else if (r->ndx == PS_NDX_DEL_STATS && r->c->o.protocol >= 31) {
        return PS_OK;
    } else if (r->ndx != PS_NDX_DONE) {
        return begin_list(r, r->ndx);
    } else if (r->state == RECV_RECORD && r->c->o.read_batch) {
        r->state = RECV_CATCH_UP;
        return PS_OK;
    } else if (r->state == RECV_RECORD) {
        return phase_ended(r);
    } else {
        if (r->gen) gen_phase_ended(r->gen);
        r->state = RECV_END;
        return PS_OK;
    }
    return ps_fail(r->c, 2, 0, "Invalid packet at end of run (%d) [receiver]", r->ndx);
}

/* One fixed-form record: read from the span, with more input until it is whole, then acted upon. */
static int take_whole(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner) {
    for (;;) {
        const u8 *data = NULL;
        size_t len = 0;
        bool nothing = r->state == RECV_STATS && r->c->o.am_server;
        int status = nothing ? PS_OK : mux_span(r->c, m, &data, &len, fn, owner);
        if (status != PS_OK) return status;
        ps_reader in = rd_make(data, len);
        ps_ndx_state before = *r->ndx_in;
        if (r->state == RECV_HEAD)
            read_head(r, &in);
        else if (r->state == RECV_STATS)
            read_stats(r, &in);
        else
            read_record(r, &in);
        if (in.bad) return ps_fail(r->c, 12, 0, "a malformed record from the sender [receiver]");
        if (in.need) {
            *r->ndx_in = before;
            status = recv_more(r, m, len, fn, owner);
            if (status != PS_OK) return status;
            continue;
        }
        if (in.p != data) mux_span_used(m, (size_t)(in.p - data));
        break;
    }
    if (r->state == RECV_HEAD) return check_head(r) == PS_OK ? recv_file_begin(r) : PS_FAIL;
    if (r->state != RECV_STATS) return take_record(r, m);
    if (r->gen) gen_phase_ended(r->gen);
    r->state = r->c->o.protocol >= 31 ? RECV_GOODBYE : RECV_END;
    return PS_OK;
}

static int take_sum(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner) {
    size_t want = sum_length(r->c->o.xfer_sum);
    while (r->remote_sum_have < want) {
        const u8 *data;
        size_t len;
        int status = mux_span(r->c, m, &data, &len, fn, owner);
        if (status != PS_OK) return status;
        if (len > want - r->remote_sum_have) len = want - r->remote_sum_have;
        memcpy(r->remote_sum + r->remote_sum_have, data, len);
        r->remote_sum_have += len;
        mux_span_used(m, len);
    }
    r->state = RECV_RECORD;
    return recv_file_end(r, m);
}

static int caught_up(ps_recv *r) {
    int status = recv_catch_up(r);
    if (status != PS_OK) return status;
    r->state = RECV_RECORD;
    return phase_ended(r);
}

static int take_list(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner) {
    int status = flist_decode(r->decoder, m, fn, owner);
    if (status != PS_DONE) return status == PS_OK ? PS_AGAIN : status;
    r->lists_left++;
    r->state = RECV_RECORD;
    return PS_OK;
}

int recv_step(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner) {
    ps_ctx *c = r->c;
    r->feed = m->raw;
    r->feed_end = m->raw_end;
    if (r->pool) recv_settle_some(r, false);
    if (c->error.exit_code) return PS_FAIL;
    int status = PS_OK;
    while (status == PS_OK) {
        if (c->cancelled) return ps_fail(c, 20, 0, "interrupted");
        switch (r->state) {
        case RECV_TOKENS: status = recv_file_tokens(r, m, fn, owner); break;
        case RECV_TAKE_OVER: status = recv_file_take_over(r); break;
        case RECV_SUM: status = take_sum(r, m, fn, owner); break;
        case RECV_LIST: status = take_list(r, m, fn, owner); break;
        case RECV_WANTED: status = recv_take_wanted(r, m); break;
        case RECV_CATCH_UP: status = caught_up(r); break;
        case RECV_END: return PS_DONE;
        case RECV_RECORD:
            if (buf_used(&c->log) > PS_RECV_LOG_ROOM || c->events.count > PS_EVENTS_MAX / 2) return PS_FULL;
            /* fall through */
        default: status = take_whole(r, m, fn, owner);
        }
    }
    return status;
}
