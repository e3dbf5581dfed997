/* Bytes into an output file: plain, sparse, copied; pieces see all of them. */
#include "output/output_inner.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define KERNEL_COPIES (64 * 1024) /* bytes of a file that are worth asking the kernel */
#define HOLE_MIN 1024 /* rsync.h: zero runs shorter than this are written */

u8 *out_scratch(ps_outs *o) {
    if (!o->scratch) o->scratch = malloc(OUT_CHUNK);
    return o->scratch;
}

static int write_at(int fd, i64 offset, const u8 *data, size_t n) {
    while (n) {
        ssize_t done = pwrite(fd, data, n, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return PS_FAIL;
        data += done;
        offset += done;
        n -= (size_t)done;
    }
    return PS_OK;
}

static size_t zeros(const u8 *data, size_t n) {
    size_t i = 0;
    while (i < n && ((uintptr_t)(data + i) & 7)) {
        if (data[i]) return i;
        i++;
    }
    for (u64 word; i + 8 <= n; i += 8) {
        memcpy(&word, data + i, 8);
        if (word) break;
    }
    while (i < n && !data[i]) i++;
    return i;
}

/* A run of zeros: nothing to do in a new file; in a file that has bytes there they are punched out. */
static int leave_hole(ps_out *out, i64 offset, size_t n) {
    if (offset >= out->old_size) return PS_OK;
    if (fallocate(out->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)n) == 0) return PS_OK;
    u8 *zero = out_scratch(out->outs);
    if (!zero) return PS_FAIL;
    memset(zero, 0, OUT_CHUNK);
    for (size_t part; n; n -= part, offset += (i64)part) {
        part = n < OUT_CHUNK ? n : OUT_CHUNK;
        if (write_at(out->fd, offset, zero, part) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

/* fileio.c:write_sparse: zero runs of 1 KiB and more, and those at either end, become holes. */
static int write_sparse(ps_out *out, i64 offset, const u8 *data, size_t n, bool already_there) {
    size_t at = 0;
    while (at < n) {
        size_t run = zeros(data + at, n - at);
        if (run && (at == 0 || at + run == n || run >= HOLE_MIN)) {
            if (leave_hole(out, offset + (i64)at, run) != PS_OK) return PS_FAIL;
            at += run;
            continue;
        }
        size_t end = at + run;
        while (end < n) { /* up to the next run that is worth a hole */
            const u8 *zero = memchr(data + end, 0, n - end);
            if (!zero) {
                end = n;
                break;
            }
            end = (size_t)(zero - data);
            run = zeros(zero, n - end);
            if (run >= HOLE_MIN || end + run == n) break;
            end += run;
        }
        if (!already_there && write_at(out->fd, offset + (i64)at, data + at, end - at) != PS_OK) return PS_FAIL;
        at = end;
    }
    return PS_OK;
}

static int write_plain(ps_out *out, i64 offset, const void *data, size_t n) {
    return out->outs->c->o.sparse ? write_sparse(out, offset, data, n, false) : write_at(out->fd, offset, data, n);
}

/* What has been verified is never written again: a second source for a piece could put anything there. */
static int write_unverified(ps_out *out, u64 offset, const u8 *data, size_t n) {
    while (n) {
        bool verified;
        u64 part = pieces_part(out->pieces, offset, n, &verified);
        if (!part) {
            errno = EFBIG;
            return PS_FAIL;
        }
        if (!verified && (write_plain(out, (i64)offset, data, part) != PS_OK ||
                          pieces_wrote(out->pieces, out->fd, offset, data, part) != PS_OK))
            return PS_FAIL;
        offset += part;
        data += part;
        n -= part;
    }
    return PS_OK;
}

int out_write(ps_out *out, i64 offset, const void *data, size_t n) {
    if (!n) return PS_OK;
    return out->pieces ? write_unverified(out, (u64)offset, data, n) : write_plain(out, offset, data, n);
}

int out_writev(ps_out *out, i64 offset, struct iovec *parts, int count, size_t total) {
    if (out->outs->c->o.sparse || out->pieces) {
        for (int i = 0; i < count; offset += (i64)parts[i++].iov_len)
            if (out_write(out, offset, parts[i].iov_base, parts[i].iov_len) != PS_OK) return PS_FAIL;
        return PS_OK;
    }
    while (total) {
        ssize_t done = pwritev(out->fd, parts, count, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return PS_FAIL;
        offset += done;
        total -= (size_t)done;
        for (size_t left = (size_t)done; left;) {
            size_t part = left < parts->iov_len ? left : parts->iov_len;
            parts->iov_base = (u8 *)parts->iov_base + part;
            parts->iov_len -= part;
            left -= part;
            while (count && !parts->iov_len) {
                parts++;
                count--;
            }
        }
    }
    return PS_OK;
}

int out_skip(ps_out *out, i64 offset, const void *data, size_t n) {
    return out->outs->c->o.sparse ? write_sparse(out, offset, data, n, true) : PS_OK;
}

int out_copy(ps_out *out, i64 offset, i64 len, int from, i64 from_offset) {
    u8 *buffer = out_scratch(out->outs);
    if (!buffer) return PS_FAIL;
    while (len) {
        ssize_t n = pread(from, buffer, len < OUT_CHUNK ? (size_t)len : OUT_CHUNK, from_offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = 0;
            return PS_FAIL;
        }
        if (out_write(out, offset, buffer, (size_t)n) != PS_OK) return PS_FAIL;
        offset += n;
        from_offset += n;
        len -= n;
    }
    return PS_OK;
}

/* A clone shares the source's blocks, holes included. It may have grown or shrunk since. */
static bool clone_whole(ps_out *out, int from, i64 size) {
    struct stat st;
    if (ioctl(out->fd, FICLONE, from) < 0) return false;
    bool right = fstat(out->fd, &st) == 0 && st.st_size >= size && (st.st_size == size || ftruncate(out->fd, size) == 0);
    if (!right && ftruncate(out->fd, 0) < 0) return false;
    return right;
}

int out_take_over(ps_out *out, i64 offset, i64 len, int from, i64 size) {
    bool plain = !out->outs->c->o.sparse && !out->pieces && size >= KERNEL_COPIES;
    if (plain && !offset && place_is_temporary(out->place) && clone_whole(out, from, size)) out->cloned = true;
    if (out->cloned) return PS_OK;
    while (plain && len) {
        off_t in = offset, to = offset;
        ssize_t n = copy_file_range(from, &in, out->fd, &to, (size_t)len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break; /* not between these two, or the end: reading tells */
        offset += n;
        len -= n;
    }
    u8 *buffer = len ? out_scratch(out->outs) : NULL;
    if (len && !buffer) return PS_FAIL;
    while (len) {
        ssize_t n = pread(from, buffer, len < OUT_CHUNK ? (size_t)len : OUT_CHUNK, offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return PS_AGAIN;
        if (out_write(out, offset, buffer, (size_t)n) != PS_OK) return PS_FAIL;
        offset += n;
        len -= n;
    }
    return PS_OK;
}

int out_set_digest(ps_out *out, u64 size, const u8 *pieces, const u8 root[32]) {
    u8 found[32];
    pieces_root(pieces, size, found);
    if (memcmp(found, root, 32)) return PS_FAIL;
    pieces_free(out->pieces);
    out->pieces = pieces_new(size, pieces);
    return out->pieces ? PS_OK : ps_fail_memory(out->outs->c, "a file's pieces");
}

ps_piece_state out_piece(ps_out *out, u64 index) { return pieces_state(out->pieces, index); }
void out_piece_again(ps_out *out, u64 index) { pieces_again(out->pieces, index); }
int out_piece_keep(ps_out *out, u64 index, u64 offset, u64 len) { return pieces_keep(out->pieces, index, offset, len); }
bool out_missing(ps_out *out, u64 end, u64 *at, u64 *len) { return pieces_missing(out->pieces, end, at, len); }
bool out_all_pieces_ok(const ps_out *out) { return pieces_all_ok(out->pieces); }
