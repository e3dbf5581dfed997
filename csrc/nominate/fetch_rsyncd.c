/* Files and ranges from an unmodified rsyncd: a receiver that writes nothing (wire-facts: --append, then disconnect). */
#include "nominate/fetch.h"

#include <stdlib.h>

#include "delta/token.h"
#include "filelist/decoder.h"
#include "wire/records.h"

#define APPEND_BLOCK 131072
#define LIST_SPARE 1024u /* entries that a list may have beyond those asked for: directories on the way to them */

typedef enum { RSYNCD_LIST, RSYNCD_REPLY, RSYNCD_TOKENS, RSYNCD_SUM, RSYNCD_DONE } rsyncd_state;

#define SESSION_REQUESTS 8u

typedef struct rsyncd_request {
    u32 id, left;
} rsyncd_request;

typedef struct rsyncd_entry {
    u32 request, number; /* index of its request; its own number there */
    u32 path, path_len;  /* in names */
    u64 size, offset, length, got;
    u64 start;           /* where the reply for its file begins */
    i64 mtime;
    i32 ndx;             /* -1: not in the list */
    bool settled;
} rsyncd_entry;

struct ps_rsyncd {
    ps_ctx *c;
    ps_fetch_memory *m;
    fetch_writer writer;
    rsyncd_request requests[SESSION_REQUESTS];
    u32 request_count, count, left, current; /* current: the entry whose data come */
    bool append, last_part;
    rsyncd_entry *entries;
    ps_arena names;
    ps_mux_in in;
    ps_mux_out out;
    ps_ndx_state ndx_in, ndx_out;
    ps_flists *all;
    ps_flist_decoder *decoder;
    ps_token_in *tokens;
    rsyncd_state state;
    bool list_begun;
    u64 at;              /* place in the file of the next literal byte */
    ps_buf held;         /* data for which there was no slot; they belong to `current` and end at `at` */
    u64 held_at;
};

static bool read_entries(ps_rsyncd *r, u32 request, const u8 *data, size_t len, u32 count) {
    if (!count || count > PS_NOMINATE_FETCH_ENTRIES || r->request_count == SESSION_REQUESTS) return false;
    rsyncd_entry *grown = realloc(r->entries, (r->count + count) * sizeof *grown);
    if (!grown) return false;
    r->entries = grown;
    r->requests[r->request_count] = (rsyncd_request){request, count};
    ps_reader in = rd_make(data, len);
    for (u32 i = 0; i < count; i++) {
        rsyncd_entry *e = &r->entries[r->count + i];
        *e = (rsyncd_entry){.request = r->request_count, .number = i};
        e->path_len = rd_u16(&in);
        const u8 *path = rd_bytes(&in, e->path_len);
        e->size = rd_u64(&in);
        e->mtime = (i64)rd_u64(&in);
        rd_bytes(&in, 32);
        e->offset = rd_u64(&in);
        e->length = rd_u64(&in);
        e->ndx = -1;
        if (!rd_ok(&in) || (e->path = arena_put(&r->names, path, e->path_len)) == PS_NO_OFFSET) return false;
    }
    r->request_count++;
    r->count += count;
    r->left += count;
    flist_decoder_limit(r->decoder, r->count + LIST_SPARE);
    return true;
}

ps_rsyncd *ps_rsyncd_new(ps_ctx *c, ps_fetch_memory *m, uint32_t request, const uint8_t *entries, size_t len, uint32_t count,
                         bool append) {
    ps_rsyncd *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->c = c;
    r->m = m;
    r->append = append;
    r->last_part = true;
    fetch_writer_init(&r->writer, m);
    mux_in_init(&r->in);
    mux_out_init(&r->out);
    r->ndx_in = r->ndx_out = ndx_state_make();
    r->all = flists_new(c);
    r->tokens = token_in_new(c);
    r->decoder = r->all ? flist_decoder_new(c, r->all, NULL) : NULL;
    if (r->tokens && r->decoder && read_entries(r, request, entries, len, count)) return r;
    ps_rsyncd_free(r);
    return NULL;
}

bool ps_rsyncd_add(ps_rsyncd *r, uint32_t request, const uint8_t *entries, size_t len, uint32_t count) {
    return !r->append && read_entries(r, request, entries, len, count);
}

void ps_rsyncd_part(ps_rsyncd *r, uint32_t first, bool last) {
    for (u32 i = 0; i < r->count; i++) r->entries[i].number = first + i;
    r->last_part = last;
}

void ps_rsyncd_free(ps_rsyncd *r) {
    if (!r) return;
    fetch_writer_free(&r->writer);
    if (r->decoder) flist_decoder_free(r->decoder);
    if (r->all) flists_free(r->all);
    if (r->tokens) token_in_free(r->tokens);
    mux_in_free(&r->in);
    mux_out_free(&r->out);
    buf_free(&r->held);
    arena_free(&r->names);
    free(r->entries);
    free(r);
}

const u8 *ps_rsyncd_out(ps_rsyncd *r, size_t *len) {
    mux_out_close_frame(&r->out);
    *len = buf_used(&r->out.out);
    return *len ? buf_head(&r->out.out) : NULL;
}
void ps_rsyncd_sent(ps_rsyncd *r, size_t n) { buf_consume(&r->out.out, n); }

static int broken(ps_rsyncd *r, const char *what) { return ps_fail(r->c, 2, 0, "the rsyncd broke the protocol: %s", what); }

static void settle(ps_rsyncd *r, u32 entry) {
    rsyncd_request *request = &r->requests[r->entries[entry].request];
    r->entries[entry].settled = true;
    r->left--;
    if (!--request->left && r->last_part) fetch_note(r->m, PS_RECORD_DONE, request->id, 0, 0);
}

static void missing(ps_rsyncd *r, u32 entry, u32 reason) {
    const rsyncd_entry *e = &r->entries[entry];
    fetch_note(r->m, PS_RECORD_MISSING, r->requests[e->request].id, e->number, reason);
    settle(r, entry);
}

/* ---- requests ------------------------------------------------------------------------------------- */

/* The head that claims the first `offset` bytes, without sums: the sender seeks there and sends the rest. */
static void put_request(ps_rsyncd *r, ps_buf *b, i32 ndx, u64 offset) {
    i32 count = (i32)((offset + APPEND_BLOCK - 1) / APPEND_BLOCK);
    buf_ndx(b, &r->ndx_out, r->c->o.protocol, ndx);
    buf_u16(b, PS_ITEM_TRANSFER);
    buf_i32(b, count);
    buf_i32(b, offset ? APPEND_BLOCK : 0);
    buf_i32(b, 0);
    buf_i32(b, (i32)(offset % APPEND_BLOCK));
}

static bool same_name(ps_rsyncd *r, const rsyncd_entry *e, const char *path, size_t len) {
    const char *own = arena_at(&r->names, e->path);
    size_t from = 0;
    if (r->append) /* the list names the argument's last component only */
        for (size_t i = 0; i < e->path_len; i++)
            if (own[i] == '/') from = i + 1;
    return e->path_len - from == len && memcmp(own + from, path, len) == 0;
}

static int ask(ps_rsyncd *r) {
    ps_buf b = {0};
    ps_flist *l = r->all->first;
    for (u32 k = 0; l && k < l->count; k++) {
        const ps_file *f = &l->files[k];
        char path[PS_LIMIT_NAME + 1];
        if (!file_active(f) || !S_ISREG(f->mode)) continue;
        size_t len = file_path(r->all, l, f, path);
        bool asked = false;
        u64 start = 0;
        for (u32 i = 0; i < r->count; i++) {
            rsyncd_entry *e = &r->entries[i];
            if (e->settled || !same_name(r, e, path, len)) continue;
            if ((u64)f->size != e->size || f->mtime != e->mtime) {
                missing(r, i, PS_MISSING_OTHER);
                continue;
            }
            e->ndx = l->ndx_start + (i32)k;
            if (!asked) put_request(r, &b, e->ndx, start = e->offset);
            asked = true;
            e->start = start;
        }
    }
    for (u32 i = 0; i < r->count; i++)
        if (!r->entries[i].settled && r->entries[i].ndx < 0) missing(r, i, PS_MISSING_NO_FILE);
    bool ok = !b.failed && mux_out_data(&r->out, b.data, b.len);
    buf_free(&b);
    return ok ? PS_OK : ps_fail_memory(r->c, "requests to an rsyncd");
}

void ps_rsyncd_shrink(ps_rsyncd *r, uint64_t end) {
    for (u32 i = 0; i < r->count && r->append; i++) {
        rsyncd_entry *e = &r->entries[i];
        if (e->settled || e->offset + e->length <= end) continue;
        e->length = end > e->offset + e->got ? end - e->offset : e->got;
        if (e->got == e->length) settle(r, i);
    }
}

/* ---- replies -------------------------------------------------------------------------------------- */

static int on_message(void *owner, u32 code, const u8 *data, u32 len) {
    ps_rsyncd *r = owner;
    if (code != PS_MSG_NO_SEND) return PS_OK; /* its words for a user are not shown: they are a stranger's */
    ps_reader in = rd_make(data, len);
    i32 ndx = rd_i32(&in);
    for (u32 i = 0; rd_ok(&in) && i < r->count; i++)
        if (!r->entries[i].settled && r->entries[i].ndx == ndx) missing(r, i, PS_MISSING_NO_FILE);
    return PS_OK;
}

/* A reply's head: ndx, flags, the echoed sum head. */
static int take_reply(ps_rsyncd *r) {
    for (;;) {
        const u8 *data;
        size_t len;
        int status = mux_span(r->c, &r->in, &data, &len, on_message, r);
        if (status != PS_OK) return status;
        if (!r->left) return PS_OK;
        ps_reader in = rd_make(data, len);
        ps_ndx_state before = r->ndx_in;
        i32 ndx = rd_ndx(&in, &r->ndx_in, r->c->o.protocol);
        u16 flags = rd_ok(&in) && ndx >= 0 ? rd_u16(&in) : 0;
        if (flags & PS_ITEM_BASIS_TYPE_FOLLOWS) rd_u8(&in);
        size_t n;
        if (flags & PS_ITEM_XNAME_FOLLOWS) rd_vstring(&in, PS_LIMIT_NAME, &n);
        if (rd_ok(&in) && flags & PS_ITEM_TRANSFER) rd_bytes(&in, 16);
        if (in.bad || (rd_ok(&in) && ndx < 0)) return broken(r, "an unexpected index");
        if (in.need) {
            r->ndx_in = before;
            status = mux_fill(r->c, &r->in, buf_used(&r->in.stage) ? 64 : len + 64, on_message, r);
            if (status != PS_OK) return status;
            continue;
        }
        mux_span_used(&r->in, (size_t)(in.p - data));
        if (!(flags & PS_ITEM_TRANSFER)) continue;
        for (r->current = 0; r->current < r->count; r->current++)
            if (r->entries[r->current].ndx == ndx && !r->entries[r->current].settled) break;
        if (r->current == r->count) return broken(r, "a file that was not asked for");
        r->at = r->entries[r->current].start;
        token_in_begin(r->tokens);
        r->state = RSYNCD_TOKENS;
        return PS_OK;
    }
}

/* Literal bytes at r->at: what lies in the wanted ranges goes to the memory, the rest (between ranges) is read over. */
static int take_literal(ps_rsyncd *r, const u8 *data, size_t len) {
    i32 ndx = r->entries[r->current].ndx; /* the last of a file's ranges stays the current one */
    while (len && r->left) {
        rsyncd_entry *e = &r->entries[r->current];
        bool more = r->current + 1 < r->count && e[1].ndx == ndx;
        if (e->settled && !more) break;
        if (e->settled) { /* it has come, or was shrunk away */
            r->current++;
            continue;
        }
        u64 want = e->offset + e->got;
        if (r->at < want) { /* between two ranges */
            size_t skip = want - r->at < len ? (size_t)(want - r->at) : len;
            r->at += skip, data += skip, len -= skip;
            continue;
        }
        size_t n = e->length - e->got < len ? (size_t)(e->length - e->got) : len;
        size_t took = fetch_write(&r->writer, r->requests[e->request].id, e->number, r->at, data, n);
        e->got += took;
        r->at += took;
        if (took < n) {
            buf_clear(&r->held);
            return buf_put(&r->held, data + took, len - took) ? PS_FULL : ps_fail_memory(r->c, "data of an rsyncd");
        }
        data += n, len -= n;
        if (e->got < e->length) continue;
        settle(r, r->current);
    }
    r->at += len;
    return PS_OK;
}

static int write_held(ps_rsyncd *r) {
    ps_buf data = r->held;
    r->held = (ps_buf){0};
    int status = take_literal(r, buf_head(&data), buf_used(&data));
    buf_free(&data);
    return status;
}

static int take_tokens(ps_rsyncd *r) {
    for (;;) {
        const u8 *data = NULL;
        size_t len = 0;
        i32 block = 0;
        if (!r->left && r->append) return PS_OK; /* the rest of the file is not wanted */
        switch (token_in_next(r->tokens, &r->in, on_message, r, &data, &len, &block)) {
        case PS_TOK_MORE: return PS_AGAIN;
        case PS_TOK_BAD: return PS_FAIL;
        case PS_TOK_BLOCK: return broken(r, "a block where there is no basis");
        case PS_TOK_LITERAL: {
            int status = take_literal(r, data, len);
            if (status != PS_OK) return status;
            break;
        }
        case PS_TOK_END:
            /* Shorter than its entry said: what has not come is not to be had here. */
            for (u32 i = 0; i < r->count; i++) {
                const rsyncd_entry *e = &r->entries[i];
                if (!e->settled && e->ndx == r->entries[r->current].ndx) missing(r, i, PS_MISSING_OTHER);
            }
            r->state = RSYNCD_SUM;
            return PS_OK;
        }
    }
}

static int take_sum(ps_rsyncd *r) {
    size_t want = sum_length(r->c->o.xfer_sum);
    while (buf_used(&r->in.stage) < want) {
        int status = mux_fill(r->c, &r->in, want - buf_used(&r->in.stage), on_message, r);
        if (status != PS_OK) return status;
    }
    mux_span_used(&r->in, want);
    r->state = RSYNCD_REPLY;
    return PS_OK;
}

static int take_list(ps_rsyncd *r) {
    if (!r->list_begun && flist_decoder_begin(r->decoder, -1) == PS_FAIL) return PS_FAIL;
    r->list_begun = true;
    int status = flist_decode(r->decoder, &r->in, on_message, r);
    if (status != PS_DONE) return status == PS_OK ? PS_AGAIN : status;
    r->state = RSYNCD_REPLY;
    return ask(r);
}

/* Everything is settled. A session of whole files ends as rsync's do, so that its log shows no error. */
static int end(ps_rsyncd *r) {
    r->state = RSYNCD_DONE;
    ps_buf b = {0};
    for (int i = 0; i < 5 && !r->append; i++) buf_ndx(&b, &r->ndx_out, r->c->o.protocol, PS_NDX_DONE);
    bool ok = !b.failed && mux_out_data(&r->out, b.data, b.len);
    buf_free(&b);
    return ok ? PS_DONE : ps_fail_memory(r->c, "the end of a session");
}

int ps_rsyncd_feed(ps_rsyncd *r, const uint8_t *data, size_t len) {
    if (!mux_in_drained(&r->in)) return PS_FULL;
    mux_in_feed(&r->in, data, len);
    return PS_OK;
}

int ps_rsyncd_step(ps_rsyncd *r) {
    for (;;) {
        int status;
        if (r->c->error.exit_code) return PS_FAIL;
        if (fetch_memory_failed(r->m)) return ps_fail_memory(r->c, "records of data");
        if (buf_used(&r->held) && (status = write_held(r)) != PS_OK) return status;
        if (r->state == RSYNCD_DONE) return PS_DONE;
        if (!r->left && r->state != RSYNCD_LIST && (r->append || r->state == RSYNCD_REPLY)) return end(r);
        switch (r->state) {
        case RSYNCD_LIST: status = take_list(r); break;
        case RSYNCD_REPLY: status = take_reply(r); break;
        case RSYNCD_TOKENS: status = take_tokens(r); break;
        case RSYNCD_SUM: status = take_sum(r); break;
        default: return PS_DONE;
        }
        if (status != PS_OK) return status;
    }
}
