#include "sender/sender_inner.h"

#include <stdlib.h>

#define FILL (64u * 1024u)
#define DEL_STAT_LIMIT (1 << 28) /* rsync.h:MAX_WIRE_DEL_STAT */

/* ---- messages of the client, io.c:read_a_msg ---- */

static int on_error_exit(ps_send *s, const u8 *data, u32 len) {
    i32 code = len ? message_int(data, len) : 0;
    if (len && s->ctx->o.protocol >= 31 && !mux_out_message(&s->out, PS_MSG_ERROR_EXIT, NULL, 0))
        return ps_fail_memory(s->ctx, "output");
    if (code < 0 || code > 255) code = 12;
    s->remote_exit = code;
    s->ctx->error.told = !s->ctx->error.exit_code;
    return ps_fail(s->ctx, code ? code : 12, 0, "the remote ended the session (code %d)", code);
}

static int on_frame(ps_send *s, const u8 *data, u32 len) {
    if (!ctx_swarms(s->ctx)) return ps_fail(s->ctx, 12, 0, "unexpected tag %d [sender]", PS_MSG_NOMINATE);
    if (!buf_u32(&s->frames, len) || !buf_put(&s->frames, data, len)) return ps_fail_memory(s->ctx, "a frame of the remote");
    return PS_OK;
}

int send_on_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_send *s = owner;
    ps_ctx *c = s->ctx;
    int status = message_take(c, "sender", code, data, len);
    if (status != PS_MESSAGE_OTHER) return status;
    if (code == PS_MSG_NOMINATE) return on_frame(s, data, len);
    if (code == PS_MSG_DELETED) return c->o.am_server ? PS_OK : render_deleted(c, data, len);
    bool success = code == PS_MSG_SUCCESS;
    if (len != (success && c->o.local ? PS_LOCAL_SUCCESS : 4) && (len || code != PS_MSG_ERROR_EXIT)) return message_bad(c, "sender", code, len);
    if (code == PS_MSG_ERROR_EXIT) return on_error_exit(s, data, len);
    return success && c->o.remove_source_files && !c->o.dry_run ? send_remove_source(s, data, len) : PS_OK;
}

/* ---- names of --files-from, io.c:forward_filesfrom_data ---- */

/* What exceeds a name's limit is dropped (io.c:read_line). */
static bool keep_name(ps_send *s, const u8 *p, size_t n) {
    size_t room = PS_LIMIT_NAME - buf_used(&s->name);
    return buf_put(&s->name, p, n < room ? n : room);
}

int send_read_names(ps_send *s) {
    for (;;) {
        const u8 *p;
        size_t n;
        int status = mux_span(s->ctx, &s->in, &p, &n, send_on_message, s);
        if (status != PS_OK) return status;
        const u8 *end = memchr(p, 0, n);
        size_t len = end ? (size_t)(end - p) : n;
        if (!keep_name(s, p, len)) return ps_fail_memory(s->ctx, "a name of --files-from");
        mux_span_used(&s->in, end ? len + 1 : len);
        if (!end) continue;
        if (!buf_used(&s->name)) return PS_OK;
        if (lister_files_from(s->lister, (const char *)buf_head(&s->name), buf_used(&s->name)) != PS_OK) return PS_FAIL;
        buf_clear(&s->name);
    }
}

/* ---- requests, rsync.c:read_ndx_and_attrs and io.c:read_sum_head ---- */

/* rsync.c:flist_for_ndx: a list answers for its own directory too, by the index before its first. */
static ps_flist *list_of(ps_flists *all, i32 ndx) {
    ps_flist *l = all->current ? all->current : all->first;
    while (l && ndx < l->ndx_start - 1) l = l->prev;
    while (l && ndx >= l->ndx_start + (i32)l->count) l = l->next;
    if (l && ndx == l->ndx_start - 1 && (l->parent_ndx < 0 || (u32)l->parent_ndx >= all->dir_entry_count)) return NULL;
    return l && ndx >= l->ndx_start - 1 ? l : NULL;
}

static int no_such_index(ps_send *s, i32 ndx) {
    const ps_flists *all = s->all;
    i32 first = all->first ? all->first->ndx_start - 1 : 0, last = all->last ? all->last->ndx_start + (i32)all->last->count - 1 : -1;
    return ps_fail(s->ctx, 2, 0, "File-list index %d not in %d - %d (read_ndx_and_attrs) [sender]", ndx, first, last);
}

static int find_entry(ps_send *s) {
    ps_request *q = &s->r;
    ps_flist *l = list_of(s->all, q->ndx);
    if (!l) return no_such_index(s, q->ndx);
    if (flist_ready(s->all, l) != PS_OK) return PS_FAIL;
    s->all->current = l;
    if (q->ndx >= l->ndx_start) {
        q->list = l;
        q->file = &l->files[q->ndx - l->ndx_start];
    } else {
        q->dirs.names = s->all->dir_arena;
        q->list = &q->dirs;
        q->file = &s->all->dir_entries[l->parent_ndx].file;
    }
    if (!file_active(q->file))
        return ps_fail(s->ctx, 2, 0, "rsync: refusing transfer of cleared file index %d", q->ndx);
    if ((q->iflags & PS_ITEM_TRANSFER) && (q->ndx < l->ndx_start || !S_ISREG(q->file->mode)))
        return ps_fail(s->ctx, 2, 0, "received request to transfer non-regular file: %d [sender]", q->ndx);
    return PS_OK;
}

static int check_head(ps_send *s) {
    ps_sum_head *h = &s->r.head;
    i32 longest = (i32)sum_length(s->ctx->o.xfer_sum);
    if (h->count < 0 || h->count > PS_LIMIT_BLOCKS)
        return ps_fail(s->ctx, 2, 0, "Invalid checksum count %d [sender]", h->count);
    if (h->block_length < 0 || h->block_length > block_length_limit(s->ctx->o.protocol))
        return ps_fail(s->ctx, 2, 0, "Invalid block length %d [sender]", h->block_length);
    if (h->count && h->block_length == 0) return ps_fail(s->ctx, 2, 0, "Invalid zero block length [sender]");
    if (h->strong_length < 0 || h->strong_length > longest || (h->count && !h->strong_length && !s->r.append))
        return ps_fail(s->ctx, 2, 0, "Invalid checksum length %d [sender]", h->strong_length);
    if (h->remainder < 0 || h->remainder > h->block_length)
        return ps_fail(s->ctx, 2, 0, "Invalid remainder length %d [sender]", h->remainder);
    /* No blocks, but a remainder: rsync counts a length below zero there. */
    h->file_length = h->count ? (i64)h->count * h->block_length - (h->remainder ? h->block_length - h->remainder : 0) : 0;
    return PS_OK;
}

/* NDX_DEL_STATS: a server sends what its client has deleted back to it (main.c:write_del_stats). */
static int on_del_stats(ps_send *s, const i32 v[5]) {
    ps_stats *t = &s->ctx->stats;
    for (int i = 0; i < 5; i++)
        if (v[i] < 0 || v[i] > DEL_STAT_LIMIT) return ps_fail(s->ctx, 2, 0, "invalid count of deleted files: %d [sender]", v[i]);
    t->deleted_dirs = v[1];
    t->deleted_symlinks = v[2];
    t->deleted_devices = v[3];
    t->deleted_specials = v[4];
    t->deleted_files = (i32)((u32)v[0] + (u32)v[1] + (u32)v[2] + (u32)v[3] + (u32)v[4]);
    if (!s->ctx->o.am_server) return PS_OK;
    buf_clear(&s->scratch);
    bool ok = buf_ndx(&s->scratch, &s->ndx_out, s->ctx->o.protocol, PS_NDX_DEL_STATS);
    for (int i = 0; i < 5; i++) ok = ok && buf_varint(&s->scratch, v[i]);
    ok = ok && mux_out_data(&s->out, buf_head(&s->scratch), buf_used(&s->scratch));
    return ok ? PS_OK : ps_fail_memory(s->ctx, "output");
}

typedef enum { REC_REQUEST, REC_DONE, REC_STATS, REC_KEEP_ALIVE } record_kind;

/* One record from r into s->r or counts. What is wrong with it is in r->bad, or in the context with PS_FAIL. */
static int decode(ps_send *s, ps_reader *r, ps_ndx_state *nd, record_kind *kind, i32 counts[5]) {
    ps_request *q = &s->r;
    q->ndx = rd_ndx(r, nd, s->ctx->o.protocol);
    if (!rd_ok(r)) return PS_OK;
    if (q->ndx == PS_NDX_DONE) {
        *kind = REC_DONE;
        return PS_OK;
    }
    if (q->ndx == PS_NDX_DEL_STATS && s->ctx->o.protocol >= 31) {
        *kind = REC_STATS;
        for (int i = 0; i < 5; i++) counts[i] = rd_varint(r);
        return PS_OK;
    }
    if (q->ndx < 0) {
        i32 last = s->all->last ? s->all->last->ndx_start + (i32)s->all->last->count - 1 : -1;
        return ps_fail(s->ctx, 2, 0, "Invalid file index: %d (%d - %d) [sender]", q->ndx, PS_NDX_DONE, last);
    }
    *kind = REC_REQUEST;
    q->iflags = s->ctx->o.protocol >= 29 ? rd_u16(r) : PS_ITEM_TRANSFER | PS_ITEM_MISSING_DATA;
    if (rd_ok(r) && is_old_keep_alive(&s->ctx->o, s->all, q->ndx, q->iflags)) {
        *kind = REC_KEEP_ALIVE;
        return PS_OK;
    }
    q->basis = q->iflags & PS_ITEM_BASIS_TYPE_FOLLOWS ? rd_u8(r) : PS_BASIS_FNAME;
    q->xname_len = 0;
    if (q->iflags & PS_ITEM_XNAME_FOLLOWS) {
        size_t n;
        const u8 *name = rd_vstring(r, PS_LIMIT_NAME, &n);
        if (r->bad) return ps_fail(s->ctx, 2, 0, "over-long vstring received (more than %d) [sender]", PS_LIMIT_NAME);
        if (!name && !rd_ok(r)) return PS_OK;
        if (n) memcpy(q->xname, name, n);
        q->xname_len = (u32)n;
    }
    q->xname[q->xname_len] = 0;
    if ((q->iflags & PS_ITEM_TRANSFER) && moves_data(&s->ctx->o)) {
        q->head.count = rd_i32(r);
        q->head.block_length = rd_i32(r);
        q->head.strong_length = rd_i32(r);
        q->head.remainder = rd_i32(r);
    }
    return PS_OK;
}

int send_read_request(ps_send *s, bool *done) {
    for (;;) {
        ps_reader r = rd_make(buf_head(&s->in.stage), buf_used(&s->in.stage));
        ps_ndx_state nd = s->ndx_in;
        record_kind kind = REC_DONE;
        i32 counts[5];
        if (decode(s, &r, &nd, &kind, counts) != PS_OK) return PS_FAIL;
        if (r.bad) return ps_fail(s->ctx, 12, 0, "malformed request [sender]");
        if (r.need) {
            int status = mux_fill(s->ctx, &s->in, FILL, send_on_message, s);
            if (status != PS_OK) return status;
            continue;
        }
        s->ndx_in = nd;
        buf_consume(&s->in.stage, (size_t)(r.p - buf_head(&s->in.stage)));
        if (kind == REC_STATS) {
            if (on_del_stats(s, counts) != PS_OK) return PS_FAIL;
            continue;
        }
        if (kind == REC_KEEP_ALIVE) continue;
        *done = kind == REC_DONE;
        if (*done) return PS_OK;
        if (find_entry(s) != PS_OK) return PS_FAIL;
        if (!(s->r.iflags & PS_ITEM_TRANSFER) || !moves_data(&s->ctx->o)) return PS_OK;
        /* A file that was sent before comes for the redo: as a full request (sender.c negates append_mode). */
        s->r.append = s->ctx->o.append > 0 && !(s->r.file->flags & PS_F_FILE_SENT);
        s->r.sum_bytes = 16;
        return check_head(s);
    }
}

int send_read_sums(ps_send *s) {
    const ps_sum_head *h = &s->r.head;
    size_t want = (size_t)h->count * (4u + (size_t)h->strong_length);
    while (buf_used(&s->in.stage) < want) {
        int status = mux_fill(s->ctx, &s->in, want - buf_used(&s->in.stage), send_on_message, s);
        if (status != PS_OK) return status;
    }
    if (!sums_load(s->sums, h, buf_head(&s->in.stage))) return ps_fail_memory(s->ctx, "block sums");
    buf_consume(&s->in.stage, want);
    s->r.sum_bytes += (i64)want;
    return PS_OK;
}
