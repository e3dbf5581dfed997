/* One file's data: basis, literal runs and blocks into the output, the whole-file checksum, and what follows from it
 * (receiver.c:receive_data and the second half of recv_files). */
#include "receiver/receiver_inner.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define WINDOW (256u * 1024u)
#define TAKE_OVER_PART (64 << 20) /* bytes copied before the caller is asked back */

/* ---- basis ------------------------------------------------------------------------------------ */

/* Before protocol 29 no type is sent: what the generator takes, in its order, as far as it is there (receiver.c:recv_files). */
static void open_unnamed_basis(ps_recv *r) {
    const ps_opts *o = &r->c->o;
    u8 types[3];
    int count = 0;
    r->basis_type = PS_BASIS_BACKUP;
    if (o->inplace && o->backup && r->gen && (r->basis = gen_open_backup_basis(r->gen, r->path)) >= 0) return;
    if (ps_str(r->c, PS_STR_PARTIAL_DIR)) types[count++] = PS_BASIS_PARTIAL_DIR;
    types[count++] = PS_BASIS_FNAME;
    if (r->c->alt_count) types[count++] = PS_BASIS_DIR_LOW;
    for (int i = 0; i < count && r->basis < 0; i++) {
        r->basis_type = types[i];
        r->basis = basis_open(r->outs, r->root, types[i], r->path, &r->from_partial);
    }
    if (r->basis < 0) r->basis_type = PS_BASIS_FNAME;
}

/* Opens the basis that the echoed type names; basis stays -1 where there is none. */
static int open_basis(ps_recv *r) {
    ps_ctx *c = r->c;
    u8 type = r->basis_type;
    r->basis = -1;
    r->from_partial = false;
    if (c->o.protocol < 29) {
        open_unnamed_basis(r);
        return PS_OK;
    }
    /* A file that the generator found missing and that takes no blocks needs no look. */
    if (type == PS_BASIS_FNAME && r->iflags & PS_ITEM_IS_NEW && !r->head.count) return PS_OK;
    if (type >= PS_BASIS_FUZZY && !c->o.fuzzy) {
        ps_log(c, PS_LOG_ERROR_XFER, "rsync: refusing malicious fuzzy operation for %s\n", r->xname);
        return ps_fail(c, 2, 0, "the sender names a fuzzy basis that was not asked for");
    }
    if (type <= PS_BASIS_DIR_HIGH && type >= c->alt_count) return ps_fail(c, 2, 0, "invalid basis_dir index: %d.", type);
    if (type == PS_BASIS_BACKUP && c->o.inplace && c->o.backup && r->gen) r->basis = gen_open_backup_basis(r->gen, r->path);
    if (r->basis < 0) r->basis = basis_open(r->outs, r->root, type, r->path, &r->from_partial);
    return PS_OK;
}

static void close_basis(ps_recv *r) {
    if (r->basis >= 0) close(r->basis);
    r->basis = -1;
}

/* ---- begin ------------------------------------------------------------------------------------ */

static bool open_output(ps_recv *r) {
    const ps_opts *o = &r->c->o;
    int flags = o->inplace ? PS_OUT_IN_PLACE : r->updating ? PS_OUT_IN_PARTIAL : 0;
    if (o->inplace && o->sparse && o->whole_file > 0) flags |= PS_OUT_TRUNCATE;
    r->out = out_open(r->outs, r->file, r->ndx, r->path, flags);
    if (!r->out) return false;
    if (r->got_literal) out_note_data(r->out);
    return true;
}

/* The line before the data. */
static void announce(ps_recv *r) {
    const ps_opts *o = &r->c->o;
    if (o->log_before_transfer)
        render_item(r->c, PS_LOG_CLIENT, r->all, r->list, r->file, r->iflags, NULL, 0, 0);
    else if (!o->am_server && o->info_name && o->info_progress == 1)
        ps_log(r->c, PS_LOG_INFO, "%s\n", r->path);
}

/* The data come all the same and must be read over. */
static void discard(ps_recv *r) {
    r->discard = true;
    r->small = false;
    close_basis(r);
    r->basis_size = 0;
}

static int write_failed_on(ps_recv *r, const char *path) {
    char shown[PS_FULL_FNAME];
    int err = errno;
    return ps_fail(r->c, 11, err, "write failed on %s: %s (%d)", full_fname(r->c, path, shown), strerror(err), err);
}

static int write_failed(ps_recv *r) { return write_failed_on(r, r->path); }

/* What the basis no longer has reads as zeros, as in fileio.c:map_ptr: the checksum will tell. */
static void read_basis(ps_recv *r, u8 *into, size_t n, i64 at) {
    while (n) {
        ssize_t got = pread(r->basis, into, n, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            memset(into, 0, n);
            return;
        }
        into += got;
        at += got;
        n -= (size_t)got;
    }
}

static bool make_window(ps_recv *r, size_t room) {
    if (r->window_room >= room) return true;
    free(r->window);
    r->window = malloc(room);
    r->window_room = r->window ? room : 0;
    return r->window;
}

/* --append: how much of the file the request has claimed. */
static i64 claimed(const ps_recv *r) {
    const ps_sum_head *h = &r->head;
    if (r->c->o.append <= 0 || r->redoing || !h->count) return 0;
    return (i64)h->count * h->block_length - (h->remainder ? h->block_length - h->remainder : 0);
}

/* The data begins where the claimed blocks end. With --append-verify they count in the checksum. */
static int pass_prefix(ps_recv *r) {
    i64 there = claimed(r);
    if (!there) return PS_OK;
    if (!make_window(r, WINDOW)) return ps_fail_memory(r->c, "the basis window");
    for (i64 at = 0; at < there && r->c->o.append == 2;) {
        size_t n = there - at < (i64)WINDOW ? (size_t)(there - at) : WINDOW;
        read_basis(r, r->window, n, at);
        sum_update(r->sum, r->window, n);
        at += (i64)n;
    }
    r->offset = there;
    /* An alternate basis: what it has is not in the file yet. */
    if (!r->updating && out_copy(r->out, 0, there, r->basis, 0) != PS_OK) return write_failed(r);
    return PS_OK;
}

/* ---- small files ------------------------------------------------------------------------------ */

static int settle(ps_recv *r, i32 ndx, ps_settled how) { return r->gen ? gen_settled_by_sender(r->gen, ndx, how) : PS_OK; }

static int fails_verification(ps_recv *r, ps_file *f, i32 ndx, const char *path, bool redoing) {
    const ps_opts *o = &r->c->o;
    if (redoing || o->info_name || o->stdout_format_has_i) {
        const char *kept = !o->partial && !o->inplace ? "discarded" : ps_str(r->c, PS_STR_PARTIAL_DIR) ? "put into partial-dir" : "retained";
        const char *later = redoing ? "" : o->read_batch ? " (may try again)" : " (will try again)";
        ps_log(r->c, redoing ? PS_LOG_ERROR_XFER : PS_LOG_WARNING, "%s: %s failed verification -- update %s%s.\n",
               redoing ? "ERROR" : "WARNING", path, kept, later);
    }
    if (!redoing && f) f->flags |= PS_F_REDO;
    if (!redoing && o->read_batch) { /* the generator waits on */
        r->resends_missing++;
        return PS_OK;
    }
    return settle(r, ndx, redoing ? PS_SETTLED_FAILED : PS_SETTLED_REDO);
}

/* Into its place what is to be in it. PS_AGAIN: it cannot be read, or not all of it. */
static int fill(ps_out *out, const out_pool_data *data) {
    if (data->from < 0) return out_write(out, 0, data->bytes, data->n);
    int status = out_take_over(out, 0, (i64)data->n, data->from, (i64)data->n);
    close(data->from);
    return status;
}

/* What a thread of the pool could not do, and why. */
static void put_again(ps_recv *r, ps_out *out, const out_pool_data *data) {
    i32 ndx = out_ndx(out);
    int status = fill(out, data);
    if (status == PS_FAIL) {
        write_failed_on(r, out_path(out));
        out_abort(out, true);
    } else if (status == PS_OK) {
        settle(r, ndx, out_finish(out, (i64)data->n, true, false) == PS_OUT_DONE ? PS_SETTLED_OK : PS_SETTLED_FAILED);
    } else {
        ps_file *f = flists_file(r->all, ndx, NULL);
        fails_verification(r, f, ndx, out_path(out), f && f->flags & PS_F_REDO);
        out_abort(out, false);
    }
}

static void handed_over(void *owner, ps_out *out, out_pool_data data, bool done) {
    ps_recv *r = owner;
    i32 ndx = out_ndx(out);
    if (done) {
        out_give_back(out);
        settle(r, ndx, PS_SETTLED_OK);
    } else if (r->c->error.exit_code) {
        if (data.from >= 0) close(data.from);
        out_abort(out, false);
    } else {
        put_again(r, out, &data);
    }
}

void recv_settle_some(ps_recv *r, bool all) { out_pool_collect(r->pool, all, handed_over, r); }

/* Where the file is gathered: with the pool, once there are enough small files to be worth its threads. */
static int find_room(ps_recv *r) {
    r->gathered = r->own_room;
    if (!r->behind) return PS_OK;
    if (!r->pool && r->small_count++ < PS_RECV_FEW) return PS_OK;
    if (!r->pool && !(r->pool = out_pool_new(r->c))) {
        r->behind = false;
        return PS_OK;
    }
    u8 *room = out_pool_room(r->pool);
    if (!room) {
        recv_settle_some(r, false);
        room = out_pool_room(r->pool);
    }
    if (room) r->gathered = room;
    return r->c->error.exit_code ? PS_FAIL : PS_OK;
}

int recv_file_begin(ps_recv *r) {
    ps_ctx *c = r->c;
    struct stat st = {0};
    char shown[PS_FULL_FNAME];
    r->out = NULL;
    r->discard = r->updating = r->got_literal = r->cut_short = false;
    r->offset = r->basis_size = 0;
    r->run_count = 0;
    r->run_bytes = 0;
    r->copy_len = 0;
    r->remote_sum_have = 0;
    r->small = false;
    r->state = RECV_TOKENS;
    token_in_begin(r->tokens);
    if (!sum_init_transfer(r->sum, c->o.xfer_sum, c->o.checksum_seed))
        return ps_fail(c, 4, 0, "the negotiated checksum cannot be computed");
    if (r->skipped) {
        discard(r);
        return PS_OK;
    }
    if (open_basis(r) != PS_OK) return PS_FAIL;
    if (r->basis >= 0) {
        if (fstat(r->basis, &st) < 0) {
            ps_log_errno(c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] fstat %s failed", full_fname(c, r->path, shown));
            discard(r);
            return PS_OK;
        }
        if (S_ISDIR(st.st_mode) && r->basis_type == PS_BASIS_FNAME) {
            ps_log(c, PS_LOG_ERROR_XFER, "recv_files: %s is a directory\n", full_fname(c, r->path, shown));
            discard(r);
            return PS_OK;
        }
        if (!S_ISREG(st.st_mode)) {
            close_basis(r);
            r->from_partial = false;
        } else {
            r->basis_size = st.st_size;
        }
    }
    basis_settle_mode(r->c, &r->new_modes, r->root, r->file, r->path, r->basis >= 0 ? &st : NULL);
    bool own = r->basis_type == PS_BASIS_FNAME || r->basis_type == PS_BASIS_BACKUP;
    r->updating = c->o.inplace ? own : r->from_partial && c->o.inplace_partial_dir;
    r->small = r->file->size <= (i64)PS_RECV_SMALL && !r->updating && !c->o.inplace && !r->progress;
    if (r->small) return find_room(r);
    if (claimed(r) > r->basis_size) { /* it has shrunk since; writing behind its end would leave a hole */
        ps_log(c, PS_LOG_ERROR_XFER, "skipped diminished file: %s\n", full_fname(c, r->path, shown));
        discard(r);
        return PS_OK;
    }
    if (!open_output(r)) {
        if (c->error.exit_code) return PS_FAIL;
        discard(r);
        return PS_OK;
    }
    announce(r);
    return pass_prefix(r);
}

/* ---- data ------------------------------------------------------------------------------------- */

/* The file is longer than its entry said: it is written like any other. */
static int leave_small(ps_recv *r) {
    size_t have = (size_t)r->offset;
    r->small = false;
    if (!open_output(r)) {
        if (r->c->error.exit_code) return PS_FAIL;
        discard(r);
        return PS_OK;
    }
    announce(r);
    return out_write(r->out, 0, r->gathered, have) == PS_OK ? PS_OK : write_failed(r);
}

static int flush_runs(ps_recv *r) {
    int count = r->run_count;
    size_t bytes = r->run_bytes;
    r->run_count = 0;
    r->run_bytes = 0;
    if (!count) return PS_OK;
    return out_writev(r->out, r->run_offset, r->runs, count, bytes) == PS_OK ? PS_OK : write_failed(r);
}

static int put(ps_recv *r, const u8 *data, size_t len, bool stays) {
    if (r->small && r->offset + (i64)len > (i64)PS_RECV_SMALL && leave_small(r) != PS_OK) return PS_FAIL;
    i64 at = r->offset;
    r->offset += (i64)len;
    if (r->discard) return PS_OK;
    if (r->small) {
        memcpy(r->gathered + at, data, len);
        return PS_OK;
    }
    if (!stays) {
        if (flush_runs(r) != PS_OK) return PS_FAIL;
        return out_write(r->out, at, data, len) == PS_OK ? PS_OK : write_failed(r);
    }
    if (!r->run_count) r->run_offset = at;
    r->runs[r->run_count++] = (struct iovec){(void *)(uintptr_t)data, len};
    r->run_bytes += len;
    return r->run_count == PS_RECV_RUNS || r->run_bytes >= PS_RECV_RUN_BYTES ? flush_runs(r) : PS_OK;
}

static int flush_copy(ps_recv *r) {
    if (!r->copy_len) return PS_OK;
    if (flush_runs(r) != PS_OK) return PS_FAIL;
    bool in_place = r->updating && r->copy_from == r->copy_offset, see = token_in_wants_blocks(&r->c->o);
    /* A decoder that looks on must be shown a block as a whole: before protocol 30 it may be longer. */
    if (!make_window(r, see && r->copy_len > (i64)WINDOW ? (size_t)r->copy_len : WINDOW)) return ps_fail_memory(r->c, "the basis window");
    while (r->copy_len) {
        size_t n = r->copy_len < (i64)r->window_room ? (size_t)r->copy_len : r->window_room;
        read_basis(r, r->window, n, r->copy_from);
        if (see) token_in_see(r->tokens, r->window, n);
        sum_update(r->sum, r->window, n);
        r->copy_from += (i64)n;
        r->copy_len -= (i64)n;
        if (in_place) {
            if (out_skip(r->out, r->offset, r->window, n) != PS_OK) return write_failed(r);
            r->offset += (i64)n;
        } else if (put(r, r->window, n, false) != PS_OK) {
            return PS_FAIL;
        }
    }
    return PS_OK;
}

static int take_literal(ps_recv *r, const u8 *data, size_t len) {
    r->c->stats.literal_data += (i64)len;
    if (!r->got_literal) {
        r->got_literal = true;
        if (r->out) out_note_data(r->out);
    }
    if (flush_copy(r) != PS_OK) return PS_FAIL;
    if (!r->discard) sum_update(r->sum, data, len);
    return put(r, data, len, data >= r->feed && data + len <= r->feed_end);
}

static int begin_take_over(ps_recv *r) {
    if (r->taken.fd >= 0 || r->offset || !local_take_over(r->local, &r->taken)) return ps_fail(r->c, 12, 0, "no file was handed over");
    r->c->stats.literal_data += r->taken.size;
    r->c->stats.total_read += r->taken.size;
    r->got_literal = true;
    if (r->small && r->taken.size <= (i64)PS_RECV_SMALL) {
        r->offset = r->taken.size; /* it is opened when all is there, and may go to the pool */
        return PS_OK;
    }
    if (r->small && leave_small(r) != PS_OK) return PS_FAIL;
    if (r->out) out_note_data(r->out);
    r->state = RECV_TAKE_OVER;
    return PS_OK;
}

int recv_file_take_over(ps_recv *r) {
    i64 left = r->taken.size - r->offset, part = left < TAKE_OVER_PART ? left : TAKE_OVER_PART;
    int status = r->discard ? PS_OK : out_take_over(r->out, r->offset, part, r->taken.fd, r->taken.size);
    if (status == PS_FAIL) return write_failed(r);
    r->cut_short = status == PS_AGAIN;
    r->offset += r->discard ? left : part;
    if (!r->cut_short && r->offset < r->taken.size) return PS_FULL;
    close(r->taken.fd);
    r->taken.fd = -1;
    r->state = RECV_TOKENS;
    return PS_OK;
}

/* A decoder that is shown the blocks goes wrong without them: any data of that length keeps it going where its is dropped. */
static int see_nothing(ps_recv *r, size_t len) {
    if (!token_in_wants_blocks(&r->c->o)) return PS_OK;
    if (!make_window(r, len > WINDOW ? len : WINDOW)) return ps_fail_memory(r->c, "the basis window");
    memset(r->window, 0, len);
    token_in_see(r->tokens, r->window, len);
    return PS_OK;
}

static int take_block(ps_recv *r, i32 block) {
    const ps_sum_head *h = &r->head;
    char shown[PS_FULL_FNAME];
    if (block < 0 || block >= h->count)
        return ps_fail(r->c, 2, 0, "Invalid block index %d (count=%d) [receiver]", block, h->count);
    i64 from = (i64)block * h->block_length;
    i32 len = block == h->count - 1 && h->remainder ? h->remainder : h->block_length;
    r->c->stats.matched_data += len;
    if (r->basis < 0 || !r->basis_size) {
        if (!r->discard)
            return ps_fail(r->c, 2, 0, "got a block match with no basis file for %s [receiver]", full_fname(r->c, r->path, shown));
        r->offset += len;
        return see_nothing(r, (size_t)len);
    }
    if (r->copy_len && r->copy_from + r->copy_len != from && flush_copy(r) != PS_OK) return PS_FAIL;
    if (!r->copy_len) {
        r->copy_from = from;
        r->copy_offset = r->offset;
    }
    r->copy_len += len;
    return r->copy_len >= (i64)WINDOW || token_in_wants_blocks(&r->c->o) ? flush_copy(r) : PS_OK;
}

int recv_file_tokens(ps_recv *r, ps_mux_in *m, ps_message_fn fn, void *owner) {
    for (;;) {
        const u8 *data = NULL;
        size_t len = 0;
        i32 block = 0;
        ps_token_kind kind = token_in_next(r->tokens, m, fn, owner, &data, &len, &block);
        if (r->progress && !r->discard && (kind == PS_TOK_LITERAL || kind == PS_TOK_BLOCK))
            progress_show(r->progress, r->offset + r->copy_len, r->file->size);
        switch (kind) {
        case PS_TOK_LITERAL:
            if (take_literal(r, data, len) != PS_OK) return PS_FAIL;
            break;
        case PS_TOK_BLOCK:
            if (r->local && block == PS_BLOCK_OF_FILE) {
                if (begin_take_over(r) != PS_OK) return PS_FAIL;
                if (r->state != RECV_TOKENS) return PS_OK;
                break;
            }
            if (take_block(r, block) != PS_OK) return PS_FAIL;
            break;
        case PS_TOK_MORE: return flush_runs(r) == PS_OK ? PS_AGAIN : PS_FAIL;
        case PS_TOK_END:
            if (flush_copy(r) != PS_OK || flush_runs(r) != PS_OK) return PS_FAIL;
            r->state = RECV_SUM;
            return PS_OK;
        case PS_TOK_BAD: return PS_FAIL;
        }
    }
}

/* ---- end -------------------------------------------------------------------------------------- */

static void drop_taken(ps_recv *r) {
    if (r->taken.fd >= 0) close(r->taken.fd);
    r->taken.fd = -1;
}

void recv_file_drop(ps_recv *r) {
    close_basis(r);
    drop_taken(r);
}

/* A small file, of which all is there. */
static int write_small(ps_recv *r, ps_out *out) {
    int status = fill(out, &(out_pool_data){r->gathered, r->taken.fd, (size_t)r->offset});
    r->taken.fd = -1;
    r->cut_short = status == PS_AGAIN;
    return status == PS_FAIL ? write_failed(r) : PS_OK;
}

static bool put_into_pool(ps_recv *r, ps_out *out) {
    size_t n = (size_t)r->offset;
    if (r->taken.fd < 0) return out_pool_put(r->pool, out, n);
    if (!out_pool_put_file(r->pool, out, r->taken.fd, n)) return false;
    r->taken.fd = -1;
    return true;
}

int recv_file_end(ps_recv *r, ps_mux_in *m) {
    ps_ctx *c = r->c;
    bool waits = false; /* for the pool to write it */
    if (r->small) {
        if (!open_output(r)) {
            if (c->error.exit_code) return PS_FAIL;
            discard(r);
        } else {
            announce(r);
            waits = r->gathered != r->own_room && !r->from_partial && out_is_plain(r->out);
            if (!waits && write_small(r, r->out) != PS_OK) return PS_FAIL;
        }
    }
    if (r->skipped || r->discard) drop_taken(r);
    if (r->skipped) return PS_OK;
    if (r->discard) {
        if (r->progress) progress_end(r->progress, r->file->size, r->all->eof);
        return settle(r, r->ndx, PS_SETTLED_FAILED);
    }
    if (r->progress) progress_end(r->progress, r->file->size, r->all->eof);
    u8 found[PS_LIMIT_CHECKSUM];
    size_t n = sum_final(r->sum, found);
    memcpy(r->c->transfer_sum, r->remote_sum, n); /* for %C */
    bool verified = memcmp(found, r->remote_sum, n) == 0 && !r->cut_short;
    recv_log_item(r, m, c->o.log_before_transfer ? PS_LOG_LOG : PS_LOG_INFO);
    close_basis(r);
    ps_out *out = r->out;
    r->out = NULL;
    if (waits) {
        if (verified && put_into_pool(r, out)) return PS_OK;
        if (write_small(r, out) != PS_OK) return PS_FAIL;
        verified = verified && !r->cut_short;
    }
    ps_out_result result = out_finish(out, r->offset, verified, r->from_partial);
    if (c->error.exit_code) return PS_FAIL;
    switch (result) {
    case PS_OUT_DELAYED: return PS_OK;
    case PS_OUT_DONE: return settle(r, r->ndx, PS_SETTLED_OK);
    case PS_OUT_BAD: return fails_verification(r, r->file, r->ndx, r->path, r->redoing);
    case PS_OUT_FAILED: break;
    }
    return settle(r, r->ndx, PS_SETTLED_FAILED);
}
