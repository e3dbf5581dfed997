#include "sender/sender_inner.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- opening ---- */

static int open_source(ps_send *s) {
    const ps_opts *o = &s->ctx->o;
    int flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC; /* non-blocking: a fifo that has taken the file's place must not hold us */
#ifdef O_NOATIME
    if (o->open_noatime) flags |= O_NOATIME;
#endif
    /* Only where links are to be followed may the last component be one; it stays beneath the root all the same. */
    if (!(o->copy_links || o->copy_unsafe_links || o->copy_dirlinks)) flags |= O_NOFOLLOW;
    return root_openat(s->root, s->path, flags, 0);
}

/* Tells the client that the file does not come. */
static int not_sent(ps_send *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    u32 ndx = (u32)s->r.ndx;
    u8 x[4] = {(u8)ndx, (u8)(ndx >> 8), (u8)(ndx >> 16), (u8)(ndx >> 24)};
    s->state = SEND_REQUEST;
    if (s->ctx->o.protocol < 30) return PS_OK;
    return mux_out_message(&s->out, PS_MSG_NO_SEND, x, 4) ? PS_OK : ps_fail_memory(s->ctx, "output");
}

static int open_failed(ps_send *s, int err) {
    char shown[PS_FULL_FNAME];
    if (err == ENOENT) {
        s->ctx->io_error |= PS_IOERR_VANISHED;
        ps_log(s->ctx, vanished_code(&s->ctx->o), "file has vanished: %s\n", full_fname(s->ctx, s->path, shown));
    } else {
        s->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(s->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] send_files failed to open %s", full_fname(s->ctx, s->path, shown));
    }
    return not_sent(s);
}

int send_file_open(ps_send *s) {
    char shown[PS_FULL_FNAME];
    struct stat st;
    if (s->ctx->o.no_data) return not_sent(s);
    if (!file_source_path(s->all, s->r.list, s->r.file, s->path)) return open_failed(s, ENAMETOOLONG);
    s->fd = open_source(s);
    if (s->fd < 0) return open_failed(s, errno);
    if (fstat(s->fd, &st) < 0) {
        s->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(s->ctx, PS_LOG_ERROR_XFER, errno, "rsync: [sender] fstat failed");
        return ps_fail(s->ctx, 11, errno, "fstat of %s failed", full_fname(s->ctx, s->path, shown));
    }
    if (!S_ISREG(st.st_mode)) { /* it was one when the list was made; --copy-devices is refused so far */
        if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
            return ps_fail(s->ctx, 2, 0, "attempt to copy device contents without --copy-devices");
        return open_failed(s, S_ISDIR(st.st_mode) ? EISDIR : EINVAL);
    }
    if (s->r.append && st.st_size < s->r.file->size) {
        ps_log(s->ctx, PS_LOG_WARNING, "skipped diminished file: %s\n", full_fname(s->ctx, s->path, shown));
        return not_sent(s);
    }
    s->size = st.st_size;
    return PS_OK;
}

/* ---- reading ---- */

/* Fills p with n bytes of the file; what cannot be read becomes zeros and is remembered as an error (fileio.c:map_ptr). */
static void read_all(ps_send *s, u8 *p, size_t n) {
    while (n) {
        ssize_t got = read(s->fd, p, n);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            s->read_error = got ? errno : ENODATA;
            memset(p, 0, n);
            return;
        }
        p += got;
        n -= (size_t)got;
    }
}

static size_t part_of(i64 left, size_t most) { return left <= 0 ? 0 : left < (i64)most ? (size_t)left : most; }

/* ---- the reply ---- */

static int put_head(ps_send *s) {
    const ps_sum_head *h = &s->r.head;
    ps_buf *b = &s->scratch;
    buf_clear(b);
    bool ok = buf_i32(b, h->count) && buf_i32(b, h->block_length) && buf_i32(b, h->strong_length) && buf_i32(b, h->remainder) &&
              mux_out_data(&s->out, buf_head(b), buf_used(b));
    return ok ? PS_OK : ps_fail_memory(s->ctx, "output");
}

/* Where rsync shows how far it is: after each 32 KiB of literal data, and each block (match.c:matched). */
#define SHOWN_STEP 32768

static void show_progress(const ps_send *s) {
    if (!s->progress) return;
    i64 steps = (s->offset - s->prefix + SHOWN_STEP - 1) / SHOWN_STEP, shown = s->prefix + steps * SHOWN_STEP;
    progress_show(s->progress, shown < s->size ? shown : s->size, s->size);
}

static int on_match(void *owner, const u8 *literal, size_t n, i32 block) {
    ps_send *s = owner;
    ps_stats *t = &s->ctx->stats;
    int status = n ? token_out_literal(s->token, &s->out, literal, n) : PS_OK;
    t->literal_data += (i64)n;
    if (s->progress && n > SHOWN_STEP + (size_t)s->r.head.block_length) progress_show(s->progress, s->offset + SHOWN_STEP, s->size);
    s->offset += (i64)n;
    if (s->progress && block < 0) progress_show(s->progress, s->offset, s->size);
    if (status != PS_OK || block < 0) return status != PS_OK ? status : send_out_full(s) ? PS_FULL : PS_OK;
    const ps_sum_head *h = &s->r.head;
    size_t len = (size_t)(block == h->count - 1 && h->remainder ? h->remainder : h->block_length);
    const u8 *data = NULL;
    if (token_out_wants_blocks(&s->ctx->o)) {
        ssize_t got = pread(s->fd, s->block, len, s->offset);
        if (got < (ssize_t)len) { /* the history goes wrong with it: the checksum must too */
            s->read_error = got < 0 ? errno : ENODATA;
            memset(s->block, 0, len);
        }
        data = s->block;
    }
    status = token_out_block(s->token, &s->out, block, data, len);
    t->matched_data += (i64)len;
    s->offset += (i64)len;
    if (s->progress) progress_show(s->progress, s->offset, s->size);
    return status != PS_OK ? status : send_out_full(s) ? PS_FULL : PS_OK;
}

/* What is read and written again came out wrong when it was handed over: the ordinary way knows why. */
static bool hands_over(const ps_send *s) {
    const ps_opts *o = &s->ctx->o;
    return s->local && !s->r.head.count && !s->r.append && s->size > 0 && o->compress == PS_Z_NONE && !o->inplace &&
           !(s->r.file->flags & PS_F_FILE_SENT) && !recording_on(&s->out.recording);
}

/* match.c:match_sums: where the data to be sent begins, and how it is found. */
static int choose_way(ps_send *s) {
    const ps_opts *o = &s->ctx->o;
    const ps_sum_head *h = &s->r.head;
    s->state = SEND_WHOLE;
    if (s->r.append) {
        /* A claim beyond the file's end counts up to there. */
        s->prefix = h->file_length < s->size ? h->file_length : s->size;
        if (o->append == 2)
            s->state = SEND_PREFIX;
        else if (s->prefix && lseek(s->fd, s->prefix, SEEK_SET) < 0)
            s->read_error = errno;
        else
            s->offset = s->prefix;
        return PS_OK;
    }
    if (hands_over(s)) s->state = SEND_HAND_OVER;
    if (!h->count || !s->size) return PS_OK;
    bool update = o->inplace || o->append; /* --append updates in place, in its redo too */
    /* Before protocol 29 nobody says what the basis is: with --backup it is the copy, but for the redo, which makes none. */
    bool own = o->protocol >= 29 ? s->r.basis == PS_BASIS_FNAME : !o->backup || s->r.file->flags & PS_F_FILE_SENT;
    bool in_place = (update && own) || (o->inplace_partial_dir && s->r.basis == PS_BASIS_PARTIAL_DIR);
    s->state = SEND_DELTA;
    if (token_out_wants_blocks(o) && s->block_room < (size_t)h->block_length) {
        free(s->block);
        s->block_room = (size_t)h->block_length;
        s->block = malloc(s->block_room);
        if (!s->block) {
            s->block_room = 0;
            return ps_fail_memory(s->ctx, "a block's data");
        }
    }
    if (!match_begin(s->match, s->sums, &s->hasher, s->fd, s->size, in_place, s->sum, on_match, s))
        return ps_fail_memory(s->ctx, "the block search");
    return PS_OK;
}

/* The line before the data. */
static void announce(ps_send *s) {
    const ps_opts *o = &s->ctx->o;
    if (o->log_before_transfer) {
        send_log(s, PS_LOG_CLIENT);
    } else if (!o->am_server && o->info_name && o->info_progress == 1) {
        char path[PS_LIMIT_NAME + 2];
        file_shown_path(s->all, s->r.list, s->r.file, path);
        ps_log(s->ctx, PS_LOG_CLIENT, "%s\n", path);
    }
}

int send_file_begin(ps_send *s) {
    s->offset = s->prefix = 0;
    s->read_error = 0;
    s->out_mark = s->out.data_bytes;
    int status = send_put_reply(s);
    s->out.aside = s->ctx->o.only_write_batch;
    if (status == PS_OK) status = put_head(s);
    if (status != PS_OK) return status;
    announce(s);
    token_out_begin(s->token, !(s->skip && token_skip_match(s->skip, s->path)));
    if (!sum_init_transfer(s->sum, s->ctx->o.xfer_sum, s->ctx->o.checksum_seed)) return ps_fail_memory(s->ctx, "a checksum");
    return choose_way(s);
}

/* A checksum that cannot be right makes the receiver ask again (match.c). */
static void spoil(u8 *sum, size_t n) {
    bool zero = true;
    for (size_t i = 0; i < n; i++) zero = zero && !sum[i];
    memset(sum, 0, n);
    if (zero && n) sum[n - 1]++;
}

static int finish(ps_send *s) {
    u8 sum[PS_LIMIT_CHECKSUM] = {0};
    int status = token_out_end(s->token, &s->out);
    if (status != PS_OK) return status;
    if (s->progress) progress_end(s->progress, s->size, s->all->eof);
    size_t n = sum_final(s->sum, sum);
    if (s->read_error) spoil(sum, n);
    if (!mux_out_data(&s->out, sum, n)) return ps_fail_memory(s->ctx, "output");
    s->out.aside = false;
    memcpy(s->ctx->transfer_sum, sum, sizeof sum);
    send_log(s, s->ctx->o.log_before_transfer ? PS_LOG_LOG : PS_LOG_INFO);
    if (s->read_error) {
        char shown[PS_FULL_FNAME];
        s->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(s->ctx, PS_LOG_ERROR_XFER, s->read_error, "rsync: [sender] read errors mapping %s", full_fname(s->ctx, s->path, shown));
    }
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
    s->r.file->flags |= PS_F_FILE_SENT;
    s->state = SEND_REQUEST;
    return PS_OK;
}

static int prefix_step(ps_send *s) {
    for (int rounds = 0; rounds < 16; rounds++) {
        size_t n = part_of(s->prefix - s->offset, SEND_BUFFER);
        if (!n || s->read_error) {
            s->state = SEND_WHOLE;
            return PS_OK;
        }
        read_all(s, s->buffer, n);
        sum_update(s->sum, s->buffer, n);
        s->offset += (i64)n;
    }
    return PS_OK;
}

static int whole_step(ps_send *s) {
    bool plain = s->ctx->o.compress == PS_Z_NONE;
    /* After a read error the rest would be zeros under a checksum that is wrong anyway. */
    i64 aside = 0; /* the output does not grow by it */
    while (s->offset < s->size && !s->read_error) {
        if (send_out_full(s) || aside >= (i64)PS_SEND_HIGH_WATER) return PS_FULL;
        size_t n = part_of(s->size - s->offset, plain ? PS_TOKEN_RUN : SEND_BUFFER);
        u8 *to = plain ? token_out_room(&s->out, n) : s->buffer;
        if (!to) return ps_fail_memory(s->ctx, "output");
        read_all(s, to, n);
        if (plain) token_out_filled(&s->out, n);
        if (s->out.aside) aside += (i64)n;
        sum_update(s->sum, to, n);
        int status = plain ? PS_OK : token_out_literal(s->token, &s->out, to, n);
        if (status != PS_OK) return status;
        s->offset += (i64)n;
        s->ctx->stats.literal_data += (i64)n;
        show_progress(s);
    }
    return finish(s);
}

static int delta_step(ps_send *s) {
    if (send_out_full(s)) return PS_FULL;
    int status = match_step(s->match);
    if (status == PS_DONE) return finish(s);
    if (status == PS_FAIL) {
        if (s->ctx->error.exit_code) return PS_FAIL; /* on_match's own */
        s->read_error = errno ? errno : ENODATA;
        return finish(s);
    }
    return status;
}

/* Its data are counted as if they had been sent; both sides' checksums are those of nothing. */
static int hand_over(ps_send *s) {
    if (!local_hand_over(s->local, (local_file){s->fd, s->size})) return PS_FULL;
    s->fd = -1;
    s->offset = s->size;
    s->ctx->stats.literal_data += s->size;
    s->ctx->stats.total_written += s->size;
    int status = token_out_block(s->token, &s->out, PS_BLOCK_OF_FILE, NULL, 0);
    return status == PS_OK ? finish(s) : status;
}

int send_file_step(ps_send *s) {
    if (s->state == SEND_HAND_OVER) return hand_over(s);
    if (s->state == SEND_PREFIX) return prefix_step(s);
    return s->state == SEND_DELTA ? delta_step(s) : whole_step(s);
}
